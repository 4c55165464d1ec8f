/** A text written by a served model, asked for by a client of OpenAI's, and what it should be. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { repositoryPath } from '../fixtures.ts';

const tokens = 96;
const beginning = 'Once upon a time';

/** The same each time; `onToken` hears how many have come. */
export async function complete(
  url: string,
  onToken: (count: number) => void = () => {},
  prompt = beginning,
): Promise<string> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const request = { model: 'tales', prompt, max_tokens: tokens, temperature: 0 };
  let [text, count] = ['', 0];
  for await (const { choices } of await client.completions.create({ ...request, stream: true })) {
    text += choices[0]?.text ?? '';
    onToken(++count);
  }
  return text;
}

/** The same text as one process writes it on one device, which keeps what it compiles in `folder`. */
export async function completeAlone(folder: string): Promise<string> {
  const words = ['run', beginning, '-n', String(tokens), '--temperature', '0'];
  const env = { ...process.env, XDG_CACHE_HOME: `${folder}/cache` };
  const main = repositoryPath('dist', 'ingot', 'main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...words], { env });
  return stdout.replace(/\n$/, '');
}
