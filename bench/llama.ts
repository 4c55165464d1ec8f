/**
 * Speed of llama.cpp on a GGUF file, in the rows of `ingot bench --json`: `node dist/bench/llama.js FOLDER MODEL.gguf [-p TOKENS]
 * [-n TOKENS] [-d TOKENS] [-b SEQUENCES] [-t THREADS]`. FOLDER holds its shared libraries (llama-cpp.ts). Keys and values are in F16, its
 * default; nothing is sampled.
 */
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { contextOf, LlamaWork, type Work } from './llama-work.ts';
import { peakBytes } from './peak.ts';

interface Options {
  readonly p: number;
  readonly n: number;
  readonly d: number;
  readonly b: number;
  readonly threads: number;
}

const repetitions = 3;

function measure(folder: string, path: string, { p, n, d, b, threads }: Options): void {
  const prefill: Work = { kind: 'prefill', tokens: p };
  const decode: Work = { kind: 'decode', tokens: n, depth: d, sequences: b };
  const tokens = Math.max(contextOf(prefill).all, contextOf(decode).all);
  const llama = new LlamaWork(folder, path, { tokens, sequences: b, threads });
  const row = (test: string, tokens: number, work: Work) => {
    const times = Array.from({ length: repetitions + 1 }, () => llama.seconds(work))
      .slice(1)
      .sort((x, y) => x - y);
    const [min, median, max] = [times[0], times[times.length >> 1], times[times.length - 1]];
    const seconds = { min, median, max };
    return { test, tokens_per_second: tokens / median, seconds, peak_bytes: peakBytes(), threads };
  };
  const at = [...(d > 0 ? [`d${d}`] : []), ...(b > 1 ? [`b${b}`] : [])].map((part) => `@${part}`).join('');
  const rows = [...(p > 0 ? [row(`pp${p}`, p, prefill)] : []), ...(n > 0 ? [row(`tg${n}${at}`, b * n, decode)] : [])];
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
