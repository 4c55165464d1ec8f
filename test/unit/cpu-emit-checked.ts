/** A kernel carried out twice, by the evaluator of the language and as machine code, and compared. */
import assert from 'node:assert/strict';
import { type Evaluator, evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import type { Kernel, ScalarElement } from '../../src/compiler/kernel/language.ts';
import { printKernel } from '../../src/compiler/kernel/print.ts';
import type { EmittedKernel } from '../../src/devices/cpu/emit/abi.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { elementBytes, elementClass } from '../../src/numerics/element-types.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { runEmitted } from './cpu-emit-harness.ts';
import type { Machine } from './machine.ts';

/** Functions whose results may be a neighbour of the evaluator's. */
const INEXACT =
  /\b(exponential|exponential_minus_one|log|log_plus_one|logistic|tanh|sine|cosine|tan|cbrt|sinh|cosh|power|atan2|hypot)\(/;

/** Steps of the type that results may differ by, as a part of the magnitude. */
const slack: Partial<Record<ScalarElement, number>> = {
  f64: 1e-12,
  f32: 1e-6,
  f16: 2e-3,
  bf16: 1e-2,
  f8E4M3FN: 0.13,
  f8E5M2: 0.26,
};

export function same(element: ScalarElement, a: Uint8Array, b: Uint8Array, inexact: boolean): string | undefined {
  if (Buffer.compare(a, b) === 0) return undefined;
  const [x, y] = [decodeElements(element, a), decodeElements(element, b)];
  const float = elementClass(element) === 'float';
  for (let i = 0; i < x.length; i++) {
    const [one, two] = [x[i], y[i]];
    if (Object.is(one, two)) continue;
    if (float && inexact && typeof one === 'number' && typeof two === 'number') {
      if (Math.abs(one - two) <= (slack[element] ?? 0) * Math.max(Math.abs(one), Math.abs(two), 1e-3)) continue;
    }
    return `element ${i} of ${x.length} is ${two}, not ${one}`;
  }
  return undefined;
}

let kernels = 0;

/**
 * As `evaluatorOf`, and throws where the machine code does something else. All kernels are emitted; the emulator, which is
 * slow, runs one in `share` of them, by one number of threads.
 */
export const checkedOn = (machine: Machine, share: number) => {
  return (kernel: Kernel): Evaluator => {
    const code = emitKernel(kernel, machine.target);
    const oracle = evaluatorOf(kernel);
    return machine.emulated && kernels++ % share > 0 ? oracle : checked(kernel, oracle, machine, code);
  };
};

function checked(kernel: Kernel, oracle: Evaluator, machine: Machine, code: EmittedKernel): Evaluator {
  const text = printKernel(kernel);
  const teams = machine.emulated ? [3] : code.parallel ? [1, 3] : [2];
  return (memory, dims) => {
    const slices = () =>
      kernel.buffers.map(({ element, elements }, i) => {
        const { bytes, offset } = memory[i] ?? assert.fail();
        return bytes.slice(offset, offset + elements * elementBytes(element));
      });
    const before = slices();
    oracle(memory, dims);
    const expected = slices();
    const values = kernel.dims.map((sym) => dims[sym] ?? assert.fail(sym));
    for (const threads of teams) {
      const results = runEmitted(kernel, machine, before, values, threads, code);
      kernel.buffers.forEach(({ name, element, access }, i) => {
        if (access === 'scratch') return;
        const difference = same(element, expected[i] as Uint8Array, results[i] as Uint8Array, INEXACT.test(text));
        assert.equal(difference, undefined, `${name} with ${threads} threads and ${JSON.stringify(dims)} in\n${text}`);
      });
    }
  };
}
