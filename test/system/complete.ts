/** A text written by a served model, asked for by a client of OpenAI's. */
import OpenAI from 'openai';

/** The same each time; `onToken` hears how many have come. */
export async function complete(
  url: string,
  onToken: (count: number) => void = () => {},
  prompt = 'Once upon a time',
): Promise<string> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const request = { model: 'tales', prompt, max_tokens: 96, temperature: 0 };
  let [text, count] = ['', 0];
  for await (const { choices } of await client.completions.create({ ...request, stream: true })) {
    text += choices[0]?.text ?? '';
    onToken(++count);
  }
  return text;
}
