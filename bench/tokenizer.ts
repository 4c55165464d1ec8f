/**
 * Encoding speed of Ingot's tokenizer beside `@huggingface/tokenizers` in turn, in one process, on the same file:
 * `node dist/bench/tokenizer.js TOKENIZER.JSON TEXT`. The text is repeated to 64 kB and to 1 MB, so that a cost that is
 * not linear shows. Where INGOT_PYTHON has Hugging Face's `tokenizers`, its Rust encodes the same text besides, in one thread.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { formatTable } from '../src/cli/report.ts';
import { processorName } from '../src/devices/open-node.ts';
import { openFile } from '../src/formats/file-node.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';

const repetitions = 5;

/** Best of several runs, in MB/s of UTF-8. */
function rate(encode: (text: string) => unknown, text: string): number {
  const bytes = Buffer.byteLength(text);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repetitions; i++) {
    const begin = performance.now();
    encode(text);
    best = Math.min(best, performance.now() - begin);
  }
  return bytes / best / 1000;
}

/** The same of the Rust library, or nothing where there is none. */
function rustRate(path: string, text: string): string {
  const script = `
import sys, time
from tokenizers import Tokenizer
tokenizer, text = Tokenizer.from_file(sys.argv[1]), sys.stdin.buffer.read().decode()
def once():
    begin = time.perf_counter()
    tokenizer.encode(text)
    return time.perf_counter() - begin
print(len(text.encode()) / min(once() for _ in range(${repetitions})) / 1e6)`;
  const env = { ...process.env, RAYON_NUM_THREADS: '1', TOKENIZERS_PARALLELISM: 'false' };
  const python = process.env.INGOT_PYTHON ?? 'python3';
  const { status, stdout } = spawnSync(python, ['-c', script, path], { input: text, env, encoding: 'utf8' });
  return status === 0 ? Number(stdout).toFixed(2) : 'not there';
}

const [tokenizerPath, textPath] = process.argv.slice(2);
if (tokenizerPath === undefined || textPath === undefined) {
  console.error('usage: node dist/bench/tokenizer.js TOKENIZER.JSON TEXT');
  process.exit(2);
}
const text = readFileSync(textPath, 'utf8');
const source = await openFile(tokenizerPath);
const ours = await loadTokenizer({ kind: 'huggingface', companions: new Map([['tokenizer.json', source]]) });
const library = new Library(JSON.parse(readFileSync(tokenizerPath, 'utf8')), {});
await source[Symbol.asyncDispose]();

const rows = [64_000, 1_000_000].map((bytes) => {
  const sized = text.repeat(Math.ceil(bytes / text.length)).slice(0, bytes);
  const [mine, theirs] = [rate((t) => ours.encode(t), sized), rate((t) => library.encode(t), sized)];
  return [
    `${bytes / 1000} kB`,
    mine.toFixed(2),
    theirs.toFixed(2),
    (mine / theirs).toFixed(1),
    rustRate(tokenizerPath, sized),
  ];
});
console.log(`${processorName()}, Node.js ${process.versions.node}, ${basename(tokenizerPath)}`);
console.log(formatTable([['text', 'Ingot MB/s', '@huggingface/tokenizers MB/s', 'ratio', 'Rust MB/s'], ...rows]));
