/**
 * Connections between a front and the ranks that work for it: TCP, in frames. Ranks listen, the front dials. Each end proves to
 * the other that it knows the rank's secret, by an HMAC (RFC 2104) over random numbers of both; nothing else is taken before.
 * What is sent is not encrypted.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { errorMessage, receivedError } from '../base/error-message.ts';
import { IngotError } from '../base/errors.ts';
import { type Fields, type Frame, FrameReader, frameBytes, mostFrameBytes } from './frames.ts';

/** What an end of a connection is for. */
export interface Greeting {
  readonly purpose: 'device' | 'pulse';
  readonly epoch: number;
}

const greetingBytes = 4096;
const greetingMilliseconds = 5000;
/** The kernel asks the other end whether it is there when nothing has come for so long, and gives it up after ten such times. */
const keepAliveMilliseconds = 1000;

/** One end of a connection. Frames arrive whole, once, in order; after it is closed none do. */
export class RankLink {
  readonly #socket: Socket;
  readonly #reader = new FrameReader(greetingBytes);
  readonly #early: Frame[] = [];
  #onFrame: ((frame: Frame) => void) | undefined;
  #onClose: ((reason: Error | undefined) => void) | undefined;
  #failure: Error | undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMilliseconds);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => {
      this.#failure ??= error;
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#onClose?.(this.#failure);
    });
  }

  #take(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#onFrame === undefined) this.#early.push(frame);
        else this.#onFrame(frame);
      }
    } catch (error) {
      this.#failure ??= error as Error;
      this.#socket.destroy();
    }
  }

  /** Longer frames than those of a greeting are taken from now on. */
  trust(): void {
    this.#reader.limit = mostFrameBytes;
  }

  /** Whoever listens last gets what comes, and what has come before. `onClose` once, with what went wrong. */
  listen(onFrame: (frame: Frame) => void, onClose: (reason: Error | undefined) => void): void {
    this.#onClose = onClose;
    this.#onFrame = onFrame;
    // Whoever takes one frame alone leaves those behind it to the next.
    while (this.#onFrame === onFrame) {
      const frame = this.#early.shift();
      if (frame === undefined) break;
      onFrame(frame);
    }
    if (this.#closed) onClose(this.#failure);
  }

  /** The next frame. @throws the reason if the connection is closed before. */
  next(): Promise<Frame> {
    return new Promise((resolve, reject) => {
      this.listen(
        (frame) => {
          this.#onFrame = undefined;
          resolve(frame);
        },
        (reason) => reject(reason ?? new IngotError('RankLost', 'the connection was closed')),
      );
    });
  }

  send(fields: Fields, parts?: readonly Uint8Array[]): void {
    if (this.#closed) return;
    const pieces = frameBytes(fields, parts);
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /** Whether it keeps the process alive; at first it does. */
  hold(on: boolean): void {
    if (on) this.#socket.ref();
    else this.#socket.unref();
  }

  /** What was sent before still arrives. */
  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  /** At once. */
  drop(): void {
    this.#socket.destroy();
  }
}

function proofOf(secret: string, who: 'front' | 'rank', greeting: Greeting, nonces: readonly string[]): Buffer {
  const said = JSON.stringify([who, greeting.purpose, greeting.epoch, ...nonces]);
  return createHmac('sha256', Buffer.from(secret, 'hex')).update(said).digest();
}

function isProof(given: unknown, expected: Buffer): boolean {
  const bytes = Buffer.from(typeof given === 'string' ? given : '', 'hex');
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}

const text = (value: unknown) => (typeof value === 'string' ? value : '');

/** A server for fronts. */
export interface RankListener {
  readonly port: number;
  close(): void;
}

/** Hands on connections of who knows the secret, and is of this epoch. Others get no more than a reason. `host` absent: any. */
export async function listenForFronts(
  host: string | undefined,
  secret: string,
  expected: Greeting,
  onLink: (link: RankLink) => void,
): Promise<RankListener> {
  const server = createServer((socket) => {
    const link = new RankLink(socket);
    const timer = setTimeout(() => link.drop(), greetingMilliseconds);
    greet(link, secret, expected)
      // What comes of it has all the time that it wants.
      .then(() => void onLink(link))
      .catch(() => link.close())
      .finally(() => clearTimeout(timer));
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new IngotError('Network', `nothing can listen at ${host ?? 'any address'}: ${cause.message}`, { cause }));
    });
    server.listen({ port: 0, host }, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** The rank's part of a greeting. */
async function greet(link: RankLink, secret: string, expected: Greeting): Promise<void> {
  const own = randomBytes(32).toString('hex');
  link.send({ kind: 'challenge', nonce: own });
  const { fields } = await link.next();
  const nonces = [own, text(fields.nonce)];
  const said: Greeting = { purpose: expected.purpose, epoch: Number(fields.epoch) };
  if (!isProof(fields.proof, proofOf(secret, 'front', said, nonces)))
    throw new IngotError('InvalidArgument', 'no proof');
  if (said.epoch !== expected.epoch) {
    const message = `a front of epoch ${said.epoch} speaks to a rank of epoch ${expected.epoch}`;
    const error = new IngotError('InvalidArgument', message);
    link.send({ kind: 'refused', error: errorMessage(error) });
    throw error;
  }
  link.trust();
  link.send({ kind: 'welcome', proof: proofOf(secret, 'rank', said, nonces).toString('hex') });
}

interface Dialled {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly secret: string;
}

/** The first of the rank's addresses where it answers. @throws IngotError 'RankLost' where none does. */
export async function dialRank(rank: Dialled, port: number, greeting: Greeting): Promise<RankLink> {
  let last: unknown;
  for (const host of rank.hosts) {
    try {
      return await dial(host, port, rank.secret, greeting);
    } catch (error) {
      // Somebody else may have the same address, like that of a bridge: what is no rank says nothing of the others.
      if (error instanceof IngotError && error.code !== 'RankLost' && error.code !== 'ParseError') throw error;
      last = error;
    }
  }
  const why = last instanceof Error ? last.message : 'it has no address';
  throw new IngotError('RankLost', `${rank.name} cannot be reached at ${rank.hosts.join(', ')}: ${why}`, {
    cause: last,
  });
}

async function dial(host: string, port: number, secret: string, greeting: Greeting): Promise<RankLink> {
  const socket = connect({ host, port });
  const link = new RankLink(socket);
  const timer = setTimeout(() => link.drop(), greetingMilliseconds);
  try {
    const { fields: challenge } = await link.next();
    const nonces = [text(challenge.nonce), randomBytes(32).toString('hex')];
    const proof = proofOf(secret, 'front', greeting, nonces).toString('hex');
    link.send({ kind: 'hello', ...greeting, nonce: nonces[1], proof });
    const { fields: answer } = await link.next();
    if (answer.kind === 'refused') throw receivedError(answer.error as Parameters<typeof receivedError>[0]);
    if (!isProof(answer.proof, proofOf(secret, 'rank', greeting, nonces))) {
      throw new IngotError('RankLost', 'what answers there is no rank of this program');
    }
    link.trust();
    return link;
  } catch (error) {
    link.drop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
