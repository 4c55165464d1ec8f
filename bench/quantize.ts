/**
 * How fast weights are encoded and decoded, one thread, beside ggml's own encoders in the same process, turn by turn:
 * `node dist/bench/quantize.js [FORMAT...] [--ggml LIBGGML-BASE] [--imatrix]`.
 */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { formatNumber, formatTable } from '../src/cli/report.ts';
import type { EncodableFormat } from '../src/numerics/quant/format.ts';
import { encodableFormat, encodableFormats } from '../src/numerics/quant/formats.ts';

interface BenchOptions {
  /** Path of the shared library. */
  readonly ggml?: string;
  readonly imatrix?: boolean;
}

type Encode = (format: EncodableFormat, values: Float32Array, bytes: Uint8Array, importance?: Float32Array) => void;

const columns = 2048;
const count = columns * 256;
const turns = 5;

function openGgml(path: string): Encode {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const quantize = koffi
    .load(path)
    .func(
      'size_t ggml_quantize_chunk(int type, void *src, void *dst, int64_t start, int64_t rows, int64_t columns, void *weights)',
    );
  return ({ ggmlType }, values, bytes, importance) =>
    void quantize(ggmlType, values, bytes, 0, values.length / columns, columns, importance ?? null);
}

function measure(names: readonly string[], options: BenchOptions): void {
  const ggml = options.ggml === undefined ? undefined : openGgml(options.ggml);
  const values = Float32Array.from({ length: count }, normal);
  const importance = options.imatrix ? Float32Array.from({ length: columns }, () => normal() ** 2) : undefined;
  const formats = names.length === 0 ? encodableFormats.slice(1) : names.map(encodableFormat);
  const rows = formats.map((format) => {
    const bytes = new Uint8Array((count / format.blockSize) * format.blockBytes);
    const theirs = bytes.slice();
    const decoded = new Float32Array(count);
    const best = { encode: Infinity, ggml: Infinity, decode: Infinity };
    // The first turn warms up.
    for (let turn = 0; turn <= turns; turn++) {
      const encode = seconds(() => format.encode(values, bytes, importance));
      const other = ggml === undefined ? Infinity : seconds(() => ggml(format, values, theirs, importance));
      const decode = seconds(() => format.decode(bytes, decoded));
      if (turn === 0) continue;
      best.encode = Math.min(best.encode, encode);
      best.ggml = Math.min(best.ggml, other);
      best.decode = Math.min(best.decode, decode);
    }
    const rate = (time: number) => formatNumber(count / time / 1e6);
    const beside =
      ggml === undefined
        ? []
        : [
            rate(best.ggml),
            formatNumber(best.ggml / best.encode),
            bytes.every((byte, i) => byte === theirs[i]) ? 'yes' : 'no',
          ];
    return [format.name, rate(best.encode), ...beside, rate(best.decode)];
  });
  const heading = [
    'format',
    'encode, Mvalues/s',
    ...(ggml === undefined ? [] : ["ggml's", 'ratio', 'same bytes']),
    'decode, Mvalues/s',
  ];
  console.log(formatTable([heading, ...rows]));
}

function seconds(work: () => void): number {
  const begin = performance.now();
  work();
  return (performance.now() - begin) / 1000;
}

let state = 1;
/** As weights are: normal, by Box and Muller from a linear congruential sequence. */
function normal(): number {
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return 0.02 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const program = new Command('quantize')
  .argument('[formats...]', 'all that can be encoded, if left out')
  .option('--ggml <path>', "ggml's shared library libggml-base")
  .option('--imatrix', 'with an importance matrix')
  .action(measure);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
