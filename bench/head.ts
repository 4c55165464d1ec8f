/**
 * Time of a head and what is sampled from its logits, as one composite and apart, in turn: `node dist/bench/head.js [FORMAT]`.
 * Medians of many runs, and how much less the composite took in the middle half of the turns.
 */
import { memoryBytes } from '../src/base/bytes.ts';
import { compile } from '../src/compiler/compile.ts';
import { quantizedDot } from '../src/composites/quantized_dot.ts';
import { sample } from '../src/composites/sample.ts';
import { type StepLimits, samplingInputs, samplingState } from '../src/composites/step.ts';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import type { Bound } from '../src/devices/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Parameter } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { encodableFormat } from '../src/numerics/quant/formats.ts';
import { system } from './system.ts';

const limits: StepLimits = {
  ...{ maxTokens: 16, maxSequences: 16, maxRows: 16, blockSize: 16, blockCount: 1, blocksPerSequence: 1 },
  maxBias: 512,
};
const [V, K] = [128256, 2048];
const turns = 120;
const [format = 'q4_0'] = process.argv.slice(2);
const { blockSize, blockBytes, encode, integers } = encodableFormat(format);
const numerics = integers === undefined ? 'f32' : 'i8';
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(6.28 * Math.random());

await using device = createCpuDevice(system);
console.log(`${device.hardware.name.trim()}, ${device.hardware.threads} threads; ${format}, microseconds of a run`);
console.log(' rows              apart     one    less');
/** So many rows are others, so that few segments have the same greatest logit. */
const others = 16384;
const bytes = new Uint8Array(((V * K) / blockSize) * blockBytes);
const some = bytes.subarray(0, ((others * K) / blockSize) * blockBytes);
encode(
  Float32Array.from({ length: others * K }, () => normal() / Math.sqrt(K)),
  some,
);
for (let at = some.length; at < bytes.length; at += some.length) {
  bytes.set(some.subarray(0, Math.min(some.length, bytes.length - at)), at);
}
using weight = await device.pack({ name: 'weight', format, shape: [V, K], bytes: memoryBytes(bytes) });

const inputs = samplingInputs(limits);
const [R] = inputs[0].type.shape;
const counts = samplingState(limits, V)[1];
const parameters: readonly Parameter[] = [
  ...inputs,
  counts,
  { name: 'x', type: tensor('f32', [R, K]), role: 'input' },
  { name: 'weight', type: tensor('f32', [V, K]), role: 'weight', format },
];
using state = await device.allocate(counts.type, 'state');
/** Somebody else who reads a logit keeps the two apart. */
async function bind(apart: boolean): Promise<Bound> {
  const program = new ProgramBuilder().program(
    parameters,
    (b, values) => {
      const logits = quantizedDot(b, values.x, values.weight, { format, numerics });
      return { ...sample(b, logits, values), ...(apart && { first: b.slice(logits, 1, 0, 1) }) };
    },
    { counts: 'counts' },
  );
  const executable = await device.compile(compile(program));
  return device.bind(executable, new Map([['weight', weight]]), new Map([['counts', state]]));
}
using apart = await bind(true);
using joined = await bind(false);

const kinds = { greedy: [0, 0, 1], '0.8/40/0.95': [0.8, 40, 0.95], '0.8/-/0.95': [0.8, 0, 0.95] } as const;
for (const rows of [1, 16]) {
  for (const [kind, [temperature, topK, topP]] of Object.entries(kinds)) {
    const given = new Map<string, ArrayBufferView>([
      ['x', Float32Array.from({ length: rows * K }, () => 3 * normal())],
      ['temperature', new Float32Array(rows).fill(temperature)],
      ['topK', new Int32Array(rows).fill(topK)],
      ['topP', new Float32Array(rows).fill(topP)],
      ['minP', new Float32Array(rows)],
      ['seed', new Uint32Array(2 * rows)],
      ['drawPosition', new Int32Array(rows).fill(7)],
      ['countRow', Int32Array.from({ length: rows }, (_, i) => i)],
      ['penalties', Float32Array.from({ length: 3 * rows }, (_, i) => (i % 3 === 0 ? 1 : 0))],
      ['biasRow', new Int32Array(limits.maxBias).fill(-1)],
      ['biasToken', new Int32Array(limits.maxBias)],
      ['biasValue', new Float32Array(limits.maxBias)],
    ]);
    const times: Record<'apart' | 'joined', number[]> = { apart: [], joined: [] };
    for (let turn = 0; turn < turns; turn++) {
      for (const [name, bound] of [
        ['apart', apart],
        ['joined', joined],
      ] as const) {
        const start = performance.now();
        await device.wait(device.submit(bound, given, { R: rows }), Number.POSITIVE_INFINITY);
        times[name].push(1000 * (performance.now() - start));
      }
    }
    const saved = times.apart.map((time, turn) => time - times.joined[turn]).sort((a, b) => a - b);
    const middle = saved.slice(turns / 4, (3 * turns) / 4);
    const less = middle.reduce((sum, each) => sum + each, 0) / middle.length;
    const median = (all: number[]) => all.sort((a, b) => a - b)[turns / 2].toFixed(0);
    const said = [median(times.apart), median(times.joined), less.toFixed(0)].map((each) => each.padStart(8));
    console.log(`${String(rows).padStart(5)}  ${kind.padEnd(12)}${said.join('')}`);
  }
}
