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
}

export interface Listening extends AsyncDisposable {
  readonly url: string;
}

/** @throws IngotError 'Usage' where the address cannot be had. */
export async function listen(app: App, { host, port, tls }: ListenOptions): Promise<Listening> {
  const server = serve({
    fetch: app.fetch,
    hostname: host,
    port,
    ...(tls && { createServer: createTlsServer, serverOptions: tls }),
  });
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const why = taken ? 'somebody else listens there' : error.message;
      reject(
        new IngotError('Usage', `cannot listen on ${host}:${port}: ${why}`, {
          hint: 'Choose another --port or --host.',
        }),
      );
    });
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${shown}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await app.drain();
      // What was answered is on its way still; a connection that is kept for more requests is idle then.
      const timer = setInterval(() => {
        if ('closeIdleConnections' in server) server.closeIdleConnections();
      }, 20);
      await closed;
      clearInterval(timer);
    },
  };
}
