/**
 * The programs whose kernels are captured: every family of kernels in every weight format (the self-test's), the bundled model,
 * and the layers of real models' shapes. A step of a model is built as an engine builds it, for one sequence.
 */

import { randomModel, type ShapeName, shapes, type WeightType } from '../../bench/random-model.ts';
import { memoryBytes } from '../../src/base/bytes.ts';
import { compile } from '../../src/compiler/compile.ts';
import { selfTests } from '../../src/devices/cpu/self-test/table.ts';
import { openForRunning } from '../../src/engine/open-model-node.ts';
import { stepLimits } from '../../src/engine/step-limits.ts';
import type { StoredTensor } from '../../src/formats/checkpoint.ts';
import type { Program } from '../../src/ir/program.ts';
import { buildDecoder } from '../../src/models/decoder.ts';
import type { BuildOptions } from '../../src/models/model.ts';
import { repositoryPath } from '../fixtures.ts';

export interface NamedProgram {
  readonly name: string;
  readonly program: Program;
}

/** None of the models has a window. */
const windowless = { layers: 0, wholeSequences: false, windowOf: () => undefined };
const step = {
  limits: stepLimits(windowless, { contextLength: 512 }),
  kv: 'f32',
  numerics: 'i8',
  results: ['sample'],
} as const;
const variants: readonly Partial<BuildOptions>[] = [
  {},
  { numerics: 'bf16', kv: 'int8' },
  { kv: 'bf16', results: ['logits'] },
];

const drawn: readonly (readonly [ShapeName, WeightType])[] = [
  ['llama-3.2-1b', 'q4_0'],
  ['llama-3.2-1b', 'q4_K_M'],
  ['llama-3.2-1b', 'f16'],
  ['qwen3-moe-0.8b', 'q4_0'],
];

export async function* programs(): AsyncGenerator<NamedProgram> {
  for (const { name, program } of selfTests()) yield { name: `self-test, ${name}`, program };
  await using bundled = await openForRunning(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  for (const [i, variant] of variants.entries()) {
    yield { name: `bundled model ${i}`, program: compile(bundled.model.build({ ...step, ...variant })) };
  }
  for (const [shape, type] of drawn) {
    yield { name: `${shape} ${type}`, program: compile(stepOf(shape, type)) };
  }
}

/** As an engine builds it, before passes. */
export const stepOf = (shape: ShapeName, type: WeightType): Program =>
  buildDecoder(shapes[shape].decoder, weightsOf(shape, type), step);

/** What programs see of weights: names, shapes and formats. */
function weightsOf(shape: ShapeName, type: WeightType): ReadonlyMap<string, StoredTensor> {
  const none = memoryBytes(new Uint8Array(), shape);
  return new Map(
    randomModel(shape, type, 1).tensors.map(({ name, shape, format }) => [name, { name, shape, format, bytes: none }]),
  );
}
