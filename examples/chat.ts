/** A conversation in a terminal: `node chat.js [MODEL]`. An empty line, or the end of the input, ends it. */
import { createInterface } from 'node:readline/promises';
import { type ChatMessage, Engine } from 'ingot';

await using engine = await Engine.load(process.argv[2], { contextLength: { atMost: 4096 } });
const messages: ChatMessage[] = [];
const input = createInterface({ input: process.stdin });

process.stdout.write('> ');
for await (const line of input) {
  if (line.trim() === '') break;
  messages.push({ role: 'user', content: line });
  // Ctrl-C ends the answer, not the conversation.
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop);
  let content = '';
  const options = { maxTokens: 200, temperature: 0.8, topP: 0.95, seed: 1n, signal: controller.signal };
  for await (const { text } of engine.chat(messages, options)) {
    content += text;
    process.stdout.write(text);
  }
  process.off('SIGINT', stop);
  messages.push({ role: 'assistant', content });
  process.stdout.write('\n> ');
}
process.stdout.write('\n');
