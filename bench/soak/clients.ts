/**
 * What may come to a server: good clients, hasty ones, slow ones and hostile ones. Each does one thing and says what came of it; a
 * sentence that begins with "!" is a fault of the server.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { between, type Random } from '../../src/cli/load/random.ts';

export interface Target {
  readonly url: string;
  readonly models: readonly string[];
  readonly keys: readonly string[];
}

interface Asking {
  readonly target: Target;
  readonly draw: Random;
  /** Answers to requests that say everything, by what they said: the next answer has to be the same. */
  readonly known: Map<string, string>;
}

const pick = <T>(draw: Random, list: readonly T[]): T => list[Math.floor(draw() * list.length)];

const subjects = ['fox', 'dragon', 'girl', 'boy', 'cat', 'tree', 'king', 'boat', 'bear', 'star'];

function words(draw: Random): string {
  const count = between(draw, { low: 1, high: 40 });
  return `Once upon a time there was a ${Array.from({ length: count }, () => pick(draw, subjects)).join(' and a ')}.`;
}

const headersOf = ({ target, draw }: Asking) => ({
  authorization: `Bearer ${pick(draw, target.keys)}`,
  'content-type': 'application/json',
  // A connection that is kept may be closed just when the next request is sent on it, which is nobody's fault.
  connection: 'close',
});

function send(asking: Asking, path: string, body: string | object | Uint8Array, signal?: AbortSignal) {
  return fetch(asking.target.url + path, {
    method: 'POST',
    headers: headersOf(asking),
    body:
      body instanceof Uint8Array
        ? (body as Uint8Array<ArrayBuffer>)
        : typeof body === 'string'
          ? body
          : JSON.stringify(body),
    ...(signal && { signal }),
  });
}

/** A refusal has a status that was to be expected and a reason. */
async function refusal(response: Response, ...expected: number[]): Promise<string> {
  const { error } = (await response.json()) as { error?: { message?: string } };
  const { status } = response;
  if (typeof error?.message !== 'string' || error.message === '') return `!status ${status} without a reason`;
  // A full queue, and a drained or reloaded model, may come to anybody.
  if (![...expected, 429, 503].includes(status)) return `!status ${status}: ${error.message}`;
  return `refused ${status}`;
}

/** All fields that decide what is answered. */
function completion({ target, draw }: Asking) {
  return {
    // Each change costs a load.
    model: draw() < 0.97 ? target.models[0] : pick(draw, target.models),
    prompt: words(draw),
    max_tokens: between(draw, { low: 1, high: 60 }),
    seed: between(draw, { low: 0, high: 3 }),
    temperature: pick(draw, [0, 0.8, 1.5]),
  };
}

/** The same request is answered in the same way, whatever else is computed. */
function compare({ known }: Asking, body: object, text: string): string {
  const { model, ...rest } = body as { model?: string };
  const key = JSON.stringify(rest);
  const before = known.get(key);
  if (before !== undefined && before !== text) return `!two answers to ${key}`;
  known.set(key, text);
  return 'answered';
}

interface Chunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly { readonly text?: string; readonly finish_reason?: string | null }[];
}

/** A stream ends with its marker, or says why it does not. */
function readEvents(text: string): { readonly text: string; readonly fault?: string; readonly refused?: boolean } {
  const events = text.split('\n\n').filter(Boolean);
  if (!events.every((event) => event.startsWith('data: '))) return { text: '', fault: '!a stream with broken events' };
  const last = events.at(-1)?.slice(6);
  const chunks = events.flatMap((event): Chunk[] => (event === 'data: [DONE]' ? [] : [JSON.parse(event.slice(6))]));
  if (chunks.some(({ error }) => error !== undefined)) return { text: '', refused: true };
  if (last !== '[DONE]') return { text: '', fault: '!a stream that just ends' };
  const choices = chunks.flatMap(({ choices: some = [] }) => some);
  if (!choices.some(({ finish_reason: reason }) => reason)) return { text: '', fault: '!an answer without an end' };
  return { text: choices.map((choice) => choice.text ?? '').join('') };
}

type Client = (asking: Asking) => Promise<string>;

export const clients: Readonly<Record<string, Client>> = {
  async whole(asking) {
    const body = completion(asking);
    const response = await send(asking, '/v1/completions', body);
    if (response.status !== 200) return refusal(response);
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    return compare(asking, body, choices[0]?.text ?? '');
  },
  async streamed(asking) {
    const body = completion(asking);
    const response = await send(asking, '/v1/completions', { ...body, stream: true });
    if (response.status !== 200) return refusal(response);
    const { text, fault, refused } = readEvents(await response.text());
    return fault ?? (refused ? 'refused in the stream' : compare(asking, body, text));
  },
  async 'chat of several choices'(asking) {
    const { model, max_tokens } = completion(asking);
    const messages = [{ role: 'user', content: words(asking.draw) }];
    const n = between(asking.draw, { low: 1, high: 5 });
    const response = await send(asking, '/v1/chat/completions', { model, max_tokens, messages, n });
    if (response.status !== 200) return refusal(response);
    const { choices } = (await response.json()) as { choices: object[] };
    return choices.length === n ? 'answered' : `!${choices.length} choices of ${n}`;
  },
  async 'alternatives and penalties'(asking) {
    const body = { ...completion(asking), logprobs: 5, presence_penalty: 1, logit_bias: { 5: 1 }, stop: [' the '] };
    const response = await send(asking, '/v1/completions', body);
    return response.status === 200 ? compare(asking, body, await answerText(response)) : refusal(response);
  },
  async 'leaves in the middle'(asking) {
    const controller = new AbortController();
    const body = { ...completion(asking), max_tokens: 200, ignore_eos: true, stream: true };
    const response = await send(asking, '/v1/completions', body, controller.signal);
    if (response.status !== 200) return refusal(response);
    const reader = response.body?.getReader();
    for (let i = between(asking.draw, { low: 0, high: 5 }); i > 0; i--) await reader?.read();
    controller.abort();
    return 'left';
  },
  async 'leaves before the answer'(asking) {
    const body = { ...completion(asking), max_tokens: 200, ignore_eos: true };
    const signal = AbortSignal.timeout(between(asking.draw, { low: 1, high: 100 }));
    try {
      const response = await send(asking, '/v1/completions', body, signal);
      return response.status === 200 ? 'answered' : await refusal(response);
    } catch {
      return 'left';
    }
  },
  async 'reads slowly'(asking) {
    const body = completion(asking);
    const response = await send(asking, '/v1/completions', { ...body, stream: true });
    if (response.status !== 200) return refusal(response);
    const parts: Uint8Array[] = [];
    for await (const part of response.body ?? []) {
      parts.push(part);
      await sleep(between(asking.draw, { low: 1, high: 30 }));
    }
    const { text, fault, refused } = readEvents(Buffer.concat(parts).toString());
    return fault ?? (refused ? 'refused in the stream' : compare(asking, body, text));
  },
  /** Takes nothing of a large answer for a while, and goes. */
  'stops reading': (asking) =>
    raw(asking, async (socket) => {
      const body = JSON.stringify({
        ...completion(asking),
        n: 16,
        logprobs: 20,
        max_tokens: 200,
        ignore_eos: true,
        stream: true,
      });
      socket.write(head(asking, body.length) + body);
      socket.pause();
      await sleep(between(asking.draw, { low: 200, high: 3000 }));
      return 'left';
    }),
  'sends half a request': (asking) =>
    raw(asking, async (socket) => {
      socket.write(`${head(asking, 1000)}{"prompt": "Once upon`);
      await sleep(between(asking.draw, { low: 1, high: 300 }));
      return 'left';
    }),
  'is no HTTP': (asking) =>
    raw(asking, async (socket) => {
      const ended = new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (data) => {
          text += data.toString();
        });
        socket.on('close', () => resolve(text));
      });
      socket.write('\x16\x03\x01\x02\x00 hello\r\n\r\n');
      const text = await ended;
      return text === '' || text.includes(' 400 ') ? 'refused 400' : `!noise is answered with ${text.slice(0, 60)}`;
    }),
  async 'bad JSON'(asking) {
    const body = pick(asking.draw, [
      '{',
      '[]',
      'null',
      '"x"',
      '{"prompt":',
      '{"prompt": 5}',
      '{"messages": []}',
      '\u0000',
    ]);
    return refusal(await send(asking, pick(asking.draw, ['/v1/completions', '/v1/chat/completions']), body), 400);
  },
  async 'no UTF-8'(asking) {
    const bytes = Buffer.concat([Buffer.from('{"prompt": "'), Buffer.of(0xff, 0xc0, 0xed, 0xa0), Buffer.from('"}')]);
    return refusal(await send(asking, '/v1/completions', bytes), 400);
  },
  async 'a body that is too long'(asking) {
    try {
      return await refusal(await send(asking, '/v1/completions', Buffer.alloc(9 << 20, 32)), 413);
    } catch {
      // The server may close the connection before all was sent.
      return 'refused 413';
    }
  },
  async 'huge numbers'(asking) {
    const more = pick<object>(asking.draw, [
      { n: 1e9 },
      { n: 128, prompt: ['a', 'b'] },
      { max_tokens: 1e300 },
      { max_tokens: -1 },
      { logprobs: 1e6 },
      { seed: 1e300 },
      { prompt: 'a '.repeat(100_000) },
      { prompt: Array(1e5).fill(5) },
      { logit_bias: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [i, 1])) },
      { stop: Array(1000).fill('x') },
    ]);
    return refusal(await send(asking, '/v1/completions', { ...completion(asking), ...more }), 400);
  },
  async 'as much as there is'(asking) {
    const body = { ...completion(asking), n: 8, max_tokens: 2 ** 31 - 1 };
    const response = await send(asking, '/v1/completions', body);
    return response.status === 200 ? compare(asking, body, await answerText(response)) : refusal(response);
  },
  async 'no such model, key or route'(asking) {
    const { target, draw } = asking;
    const headers = { ...headersOf(asking), authorization: `Bearer ${pick(draw, ['', 'wrong', ...target.keys])}` };
    const path = pick(draw, ['/v1/models/none', '/v1/none', '/metrics']);
    return refusal(await fetch(target.url + path, { headers }), 401, 404);
  },
  async 'words to tokens and back'(asking) {
    const content = words(asking.draw);
    const response = await send(asking, '/tokenize', { content });
    if (response.status !== 200) return refusal(response);
    const { tokens } = (await response.json()) as { tokens: number[] };
    const back = await send(asking, '/detokenize', { tokens });
    if (back.status !== 200) return refusal(back);
    const text = ((await back.json()) as { content: string }).content;
    return text === content ? 'answered' : `!tokens of ${JSON.stringify(content)} are ${JSON.stringify(text)}`;
  },
  /** The model generates, and embeds nothing. */
  async embeds(asking) {
    return refusal(await send(asking, '/v1/embeddings', { input: [words(asking.draw)] }), 400);
  },
  async 'lists models'(asking) {
    const response = await fetch(`${asking.target.url}/v1/models`, { headers: headersOf(asking) });
    const { data } = (await response.json()) as { data: object[] };
    return data.length === asking.target.models.length ? 'answered' : '!models are missing';
  },
};

async function answerText(response: Response): Promise<string> {
  const { choices } = (await response.json()) as { choices: { text: string }[] };
  return choices.map(({ text }) => text).join('\n');
}

function head(asking: Asking, length: number): string {
  const headers = Object.entries({ host: 'x', ...headersOf(asking), 'content-length': length });
  return `POST /v1/completions HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

async function raw({ target }: Asking, work: (socket: ReturnType<typeof connect>) => Promise<string>): Promise<string> {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  try {
    return await work(socket);
  } finally {
    socket.destroy();
  }
}
