/**
 * The page of `ingot serve`: Vite makes static files of `web/`, which `src/server/page.ts` answers with. `npx vite` shows it while it is
 * written, in front of a server that listens at its usual port.
 */
import { defineConfig } from 'vite';

const api = { target: 'http://127.0.0.1:8080' };

export default defineConfig({
  root: 'web',
  publicDir: false,
  build: {
    outDir: '../dist/page',
    emptyOutDir: true,
    // Names of files alone: what the Content-Security-Policy forbids (inline scripts, data: images) is not made.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
  server: { proxy: { '/v1': api, '/metrics': api } },
});
