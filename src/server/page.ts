/**
 * The chat page at `/`: static files that Vite makes of `web/`. It is served without a key, since it holds nothing; what it asks the API
 * for needs one like any other client. Its policy (Content Security Policy Level 3) lets it load and ask nothing but this server, and
 * run no script but its own.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Env, Hono } from 'hono';
import { ApiError, respond } from './failure.ts';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const common = {
  'Content-Security-Policy': policy,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const folder = fileURLToPath(new URL('.', import.meta.resolve('ingot/page/index.html')));

/** Answers `/` and what it names. Only files that are there when the server starts: no path is ever made of a request. */
export function mountPage<E extends Env>(app: Hono<E>): void {
  const index = join(folder, 'index.html');
  if (!existsSync(index)) {
    app.get('/', (c) => respond(c, new ApiError(404, 'the page is not built; `npm run build` does that')));
    return;
  }
  // Names of assets hold a hash of what is in them, so a browser never asks for one again; the page itself is asked for each time.
  mount('/', index, 'no-cache');
  for (const name of readdirSync(join(folder, 'assets'))) {
    mount(`/assets/${name}`, join(folder, 'assets', name), 'public, max-age=31536000, immutable');
  }

  function mount(path: string, file: string, caching: string): void {
    const bytes = readFileSync(file);
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}"`;
    const headers = { ...common, 'Cache-Control': caching, ETag: etag };
    const type = types[extname(file)] ?? 'application/octet-stream';
    app.get(path, (c) => {
      if (c.req.header('if-none-match') === etag) return c.body(null, 304, headers);
      return c.body(bytes, 200, { ...headers, 'Content-Type': type });
    });
  }
}
