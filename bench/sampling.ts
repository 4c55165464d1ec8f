/** Time of the `sample` composite on the CPU device: `node dist/bench/sampling.js`. Each figure is the best of several runs. */
import { compile } from '../src/compiler/compile.ts';
import { inlineComposites } from '../src/compiler/inline.ts';
import { sample } from '../src/composites/sample.ts';
import { type StepLimits, samplingInputs, samplingState } from '../src/composites/step.ts';
import { createCpuDevice } from '../src/devices/cpu/device.ts';
import { ProgramBuilder } from '../src/ir/build.ts';
import type { Parameter } from '../src/ir/program.ts';
import { tensor } from '../src/ir/types.ts';
import { system } from './system.ts';

const limits: StepLimits = {
  ...{ maxTokens: 16, maxSequences: 16, maxRows: 16, blockSize: 16, blockCount: 1, blocksPerSequence: 1 },
  maxBias: 512,
};
const seconds = 0.5;

/** As logits are: some thousands of likely tokens, the rest far below. */
function logitsOf(rows: number, V: number): Float32Array {
  return Float32Array.from(
    { length: rows * V },
    () => 3 * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(6.28 * Math.random()),
  );
}

await using device = createCpuDevice(system);
console.log(`${device.hardware.name.trim()}, ${device.hardware.threads} threads; microseconds of a run`);
console.log('      V  rows   greedy   0.8/40/0.95   0.8/-/0.95   0.8   penalties');
for (const V of [2048, 128256]) {
  const inputs = samplingInputs(limits);
  const [R] = inputs[0].type.shape;
  const parameters: readonly Parameter[] = [
    ...inputs,
    { name: 'logits', type: tensor('f32', [R, V]), role: 'input' },
    samplingState(limits, V)[1],
  ];
  const built = new ProgramBuilder().program(parameters, (b, values) => ({ ...sample(b, values.logits, values) }), {
    counts: 'counts',
  });
  const program = process.argv.includes('--inlined') ? inlineComposites(built, () => false) : built;
  const executable = await device.compile(compile(program));
  using counts = await device.allocate(samplingState(limits, V)[1].type, 'state');
  using bound = await device.bind(executable, new Map(), new Map([['counts', counts]]));
  for (const rows of [1, 16]) {
    const logits = logitsOf(rows, V);
    const time = async (temperature: number, topK: number, topP: number, repetition = 1) => {
      const f32 = (value: number, each = 1) => new Float32Array(rows * each).fill(value);
      const i32 = (value: number, count = rows) => new Int32Array(count).fill(value);
      const values = new Map<string, ArrayBufferView>([
        ['logits', logits],
        ['temperature', f32(temperature)],
        ['topK', i32(topK)],
        ['topP', f32(topP)],
        ['minP', f32(0)],
        ['seed', new Uint32Array(2 * rows)],
        ['drawPosition', i32(7)],
        ['countRow', Int32Array.from({ length: rows }, (_, i) => i)],
        ['penalties', Float32Array.from({ length: 3 * rows }, (_, i) => (i % 3 === 0 ? repetition : 0))],
        ['biasRow', i32(-1, limits.maxBias)],
        ['biasToken', i32(0, limits.maxBias)],
        ['biasValue', new Float32Array(limits.maxBias)],
      ]);
      let best = Number.POSITIVE_INFINITY;
      const end = performance.now() + 1000 * seconds;
      do {
        const start = performance.now();
        await device.wait(device.submit(bound, values, { R: rows }), Number.POSITIVE_INFINITY);
        best = Math.min(best, performance.now() - start);
      } while (performance.now() < end);
      return (1000 * best).toFixed(0);
    };
    console.log(
      [
        String(V).padStart(7),
        String(rows).padStart(5),
        (await time(0, 0, 1)).padStart(8),
        (await time(0.8, 40, 0.95)).padStart(13),
        (await time(0.8, 0, 0.95)).padStart(12),
        (await time(0.8, 0, 1)).padStart(8),
        (await time(0, 0, 1, 1.1)).padStart(8),
      ].join(' '),
    );
  }
}
