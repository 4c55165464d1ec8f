/**
 * A model within a Node server of one's own: `node own-server.js [PORT [MODEL]]`; `curl http://127.0.0.1:8000/ -d "Once upon a time"` gets the
 * rest of the story as it is made. Who goes away ends the answer. For OpenAI's API there is `ingot serve`.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Engine, isIngotError } from 'ingot';

const [port = '8000', model] = process.argv.slice(2);
const engine = await Engine.load(model, { sequences: 8, queue: 64, contextLength: { atMost: 1024 } });

const server = createServer(async (request, response) => {
  const controller = new AbortController();
  response.on('close', () => controller.abort());
  try {
    let prompt = '';
    for await (const part of request.setEncoding('utf8')) prompt += part;
    const options = { maxTokens: 100, temperature: 0.8, seed: BigInt(Date.now()), signal: controller.signal };
    for await (const { text } of engine.generate(prompt, options)) response.write(text);
  } catch (error) {
    if (!response.headersSent) response.writeHead(isIngotError(error, 'Overloaded') ? 503 : 400);
    response.write(isIngotError(error) ? error.message : 'something went wrong');
  }
  response.end();
});

server.listen(Number(port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.once('SIGTERM', async () => {
  server.close();
  await engine[Symbol.asyncDispose]();
});
