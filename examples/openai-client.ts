/** An answer over HTTP with OpenAI's own client: `node openai-client.js URL`, where `ingot serve` says that it serves, as in http://127.0.0.1:8080/v1. */
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2] ?? 'http://127.0.0.1:8080/v1', apiKey: 'none' });
const [model] = (await client.models.list()).data;
if (model === undefined) throw new Error('the server has no model');

const stream = await client.chat.completions.create({
  model: model.id,
  messages: [{ role: 'user', content: 'Tell me a story about a brave fox.' }],
  max_tokens: 40,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const { choices, usage } of stream) {
  process.stdout.write(choices[0]?.delta.content ?? '');
  if (usage) console.log(`\n${usage.completion_tokens} tokens for a prompt of ${usage.prompt_tokens}`);
}
