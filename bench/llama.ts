/**
 * Speed of llama.cpp on a GGUF file, in the rows of `ingot bench --json`: `node dist/bench/llama.js FOLDER MODEL.gguf [-p TOKENS]
 * [-n TOKENS] [-d TOKENS] [-b SEQUENCES] [-t THREADS]`. FOLDER holds its shared libraries (llama-cpp.ts). Keys and values are in F16, its
 * default; nothing is sampled.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { openLlamaCpp } from './llama-cpp.ts';

interface Options {
  readonly p: number;
  readonly n: number;
  readonly d: number;
  readonly b: number;
  readonly threads: number;
}

const repetitions = 3;

function measure(folder: string, path: string, { p, n, d, b, threads }: Options): void {
  const batch = Math.max(512, b);
  const context = Math.max(p, b * (Math.max(d, 1) + n));
  const llama = openLlamaCpp(folder, path, { tokens: context, sequences: b, threads, batch });
  const id = (i: number) => 100 + ((i * 7919) % (llama.vocabularySize - 200));
  const prompt = (tokens: number, sequence: number) => {
    for (let start = 0; start < tokens; start += batch) {
      const count = Math.min(batch, tokens - start);
      llama.decode(
        Array.from({ length: count }, (_, i) => ({
          id: id(start + i + 31 * sequence),
          position: start + i,
          sequence,
          wantsLogits: start + i === tokens - 1,
        })),
      );
    }
    llama.logits((tokens - 1) % batch);
  };
  const rows: object[] = [];
  const row = (test: string, tokens: number, run: () => number) => {
    const times: number[] = [];
    for (let i = 0; i <= repetitions; i++) {
      llama.clear();
      const seconds = run();
      if (i > 0) times.push(seconds);
    }
    times.sort((x, y) => x - y);
    const [min, median, max] = [times[0], times[times.length >> 1], times[times.length - 1]];
    const peak = Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) * 1024;
    rows.push({ test, tokens_per_second: tokens / median, seconds: { min, median, max }, peak_bytes: peak, threads });
  };
  const timed = (work: () => void) => {
    const start = performance.now();
    work();
    return (performance.now() - start) / 1000;
  };
  if (p > 0) row(`pp${p}`, p, () => timed(() => prompt(p, 0)));
  if (n > 0) {
    const depth = Math.max(d, 1);
    const at = [...(d > 0 ? [`d${d}`] : []), ...(b > 1 ? [`b${b}`] : [])].map((part) => `@${part}`).join('');
    row(`tg${n}${at}`, b * n, () => {
      for (let sequence = 0; sequence < b; sequence++) prompt(depth, sequence);
      return timed(() => {
        for (let i = 0; i < n; i++) {
          llama.decode(
            Array.from({ length: b }, (_, sequence) => ({
              id: id(depth + i + 31 * sequence),
              position: depth + i,
              sequence,
              wantsLogits: true,
            })),
          );
          llama.logits(b - 1);
        }
      });
    });
  }
  console.log(JSON.stringify(rows, undefined, 2));
}

new Command('llama')
  .argument('<folder>')
  .argument('<model>')
  .option('-p <tokens>', 'prompt', wholeNumber(0), 512)
  .option('-n <tokens>', 'decoded tokens', wholeNumber(0), 64)
  .option('-d <tokens>', 'context before them', wholeNumber(0), 0)
  .option('-b <sequences>', 'sequences at once', wholeNumber(1, 1024), 1)
  .option('-t, --threads <n>', 'threads', wholeNumber(1, 1024), 2)
  .action((folder: string, path: string, options: Options) => {
    measure(folder, path, options);
    // Its threads would keep the process.
    process.exit(0);
  })
  .parse();
