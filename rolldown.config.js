/**
 * What the package ships: a few files instead of some three hundred, whose loading one by one takes a third of a short
 * command's time. Entries are what programs import and what Node starts (the command line, workers, processes that
 * try machine code). They lie side by side, so that `new URL('./worker-node.js', import.meta.url)` finds each from any chunk.
 */
import { defineConfig } from 'rolldown';

export default defineConfig({
  input: [
    'dist/src/index.js',
    'dist/src/cli/main.js',
    'dist/src/engine/worker-node.js',
    'dist/src/engine/rank-worker-node.js',
    'dist/src/formats/recode-worker-node.js',
    'dist/src/devices/cpu/self-test/child.js',
    'dist/src/devices/cpu/os/machine-code-trial.js',
  ],
  platform: 'node',
  external: /^[^./]/,
  output: { dir: 'dist/ingot', cleanDir: true, chunkFileNames: 'chunk-[name]-[hash].js' },
});
