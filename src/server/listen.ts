/** Binds the API to an address, with TLS where a certificate is given, and ends it without cutting anybody off. */
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import { IngotError } from '../base/errors.ts';
import type { App } from './app.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 = one that is free. */
  readonly port: number;
  /** PEM texts. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** At the end requests that run have so long to finish. */
  readonly drainSeconds?: number;
}

export interface Listening extends AsyncDisposable {
  readonly url: string;
  /** The address that it was bound to. */
  readonly host: string;
}

/** @throws IngotError 'Usage' where the address cannot be had. */
export async function listen(app: App, options: ListenOptions): Promise<Listening> {
  const { tls, drainSeconds = 30 } = options;
  const server = bind(app, options);
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, options)));
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${shown}:${address.port}`,
    host: address.address,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await app.drain(1000 * drainSeconds);
      if (!('closeIdleConnections' in server)) return closed;
      // What was answered is on its way still; a connection that is kept for more requests is idle then.
      const polite = setInterval(() => server.closeIdleConnections(), 20);
      // Whoever does not read it by then does not get it.
      const last = setTimeout(() => server.closeAllConnections(), 2000);
      await closed;
      clearInterval(polite);
      clearTimeout(last);
    },
  };
}

/** Longer than load balancers keep a connection that nobody uses (60 s is usual), or they would send into one that closes just then. */
const keepAliveMilliseconds = 75_000;

/** @throws IngotError 'Usage' for certificates that are none. */
function bind(app: App, { host, port, tls }: ListenOptions): ReturnType<typeof serve> {
  try {
    return serve({
      fetch: app.fetch,
      hostname: host,
      port,
      ...(tls && { createServer: createTlsServer }),
      serverOptions: { ...tls, keepAliveTimeout: keepAliveMilliseconds },
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new IngotError('Usage', `the certificate and its key cannot be used: ${why}`, {
      hint: '--tls-cert and --tls-key name files in PEM, of one pair.',
      cause,
    });
  }
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'somebody else listens there',
  EACCES: 'this user may not listen there (ports below 1024 are for the system)',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'nobody knows such a host',
};

function cannotListen(error: NodeJS.ErrnoException, { host, port }: ListenOptions): IngotError {
  const why = reasons[error.code ?? ''] ?? error.message;
  return new IngotError('Usage', `cannot listen on ${host}:${port}: ${why}`, {
    hint: 'Choose another --port or --host.',
    cause: error,
  });
}
