/** A kernel with the values whose memory it is given, and the frame in which all kernels are put together. */
import type { Program, Value } from '../../ir/program.ts';
import { asTensor, type Dim, maxElements } from '../../ir/types.ts';
import { elementTypes } from '../../numerics/element-types.ts';
import { numbersPerElement } from '../../numerics/host-array.ts';
import { elementOfOp } from './element-table.ts';
import { unsignedOf } from './expressions.ts';
import type { Buffer, Kernel, ScalarElement } from './language.ts';
import { type Index, partElement, Scope, symbolsOf, Writer } from './scope.ts';

/** What the launch gives for a buffer: the memory of a value, or bytes of its own from an offset. */
export type Argument = { readonly value: Value } | { readonly scratch: number };

export interface Launch {
  readonly kernel: Kernel;
  /** One a buffer. */
  readonly args: readonly Argument[];
  /** Of all its scratch buffers. */
  readonly scratchBytes: number;
}

/** Memory of a value; equal for values that share it. */
export type MemoryOf = (value: Value) => unknown;

/** What the body of a kernel is written with. */
export interface KernelParts {
  readonly scope: Scope;
  /** Whether its statements may run in lanes. */
  readonly straight: boolean;
  scratch(name: string, element: ScalarElement, elements: number): Buffer;
}

export interface KernelOptions {
  /** Whether its statements may run in lanes. */
  readonly straight: boolean;
  /** Values that are only moved, as words. */
  readonly moved?: ReadonlySet<Value>;
  /** It reads what is in the outputs' memory before it. */
  readonly updates?: boolean;
}

/** `inputs` are read where the ops want them; `write` gets the buffers of the outputs. */
export function buildKernel(
  name: string,
  program: Program,
  memory: MemoryOf,
  inputs: readonly Value[],
  outputs: readonly Value[],
  options: KernelOptions,
  write: (outs: readonly Buffer[], kernel: KernelParts) => void,
): Launch {
  const writer = new Writer(program, elementOfOp);
  const scope = new Scope(writer);
  const buffers: Buffer[] = [];
  const args: Argument[] = [];
  let scratchBytes = 0;
  const add = (buffer: Buffer, arg: Argument) => {
    buffers.push(buffer);
    args.push(arg);
    return buffer;
  };
  const bufferFor = (value: Value, access: Buffer['access'], label: string) => {
    const type = asTensor(value.type);
    const part = partElement(type.element);
    const element = options.moved?.has(value) ? wordOf(type.element) : part;
    const numbers = options.moved?.has(value)
      ? Math.max(1, elementTypes[type.element].bits / elementTypes[element].bits)
      : numbersPerElement(type.element);
    return add({ name: label, element, elements: maxElements(type) * numbers, access }, { value });
  };
  const outMemory = outputs.map(memory);
  const outs = outputs.map((value, i) => {
    const reads = inputs.some((input) => memory(input) === outMemory[i]);
    return bufferFor(value, reads || options.updates ? 'update' : 'write', `out${i}`);
  });
  inputs.forEach((value, i) => {
    const shared = outMemory.indexOf(memory(value));
    writer.place(value, shared >= 0 ? outs[shared] : bufferFor(value, 'read', `in${i}`));
  });
  write(outs, {
    scope,
    straight: options.straight,
    scratch(label, element, elements) {
      const at = scratchBytes;
      scratchBytes += Math.ceil((elements * Math.max(1, elementTypes[element].bits >> 3)) / 64) * 64;
      return add({ name: label, element, elements, access: 'scratch' }, { scratch: at });
    },
  });
  // A fold may run over more than its operands and results have: the number of tokens.
  const dims = [...new Set([...symbolsOf([...inputs, ...outputs]), ...writer.symbols])].sort();
  return { kernel: { name, buffers, privates: writer.privates, dims, body: scope.statements }, args, scratchBytes };
}

/** The words in which elements of a type are moved. */
function wordOf(element: Parameters<typeof partElement>[0]): ScalarElement {
  // Types of less than a byte take one.
  if (elementTypes[element].bits < 8) return 'ui8';
  return element === 'complex<f32>' ? 'ui64' : unsignedOf(partElement(element));
}

/** Loops over independent elements: the last one in lanes where the body is straight. */
export function loopNest(
  scope: Scope,
  shape: readonly Dim[],
  straight: boolean,
  body: (scope: Scope, index: Index) => void,
): void {
  const last = straight ? shape.findLastIndex((dim) => dim !== 1) : -1;
  const nest = (outer: Scope, d: number, index: Index): void => {
    if (d === shape.length) body(outer, index);
    else outer.loop(d === last ? 'vector' : 'parallel', shape[d], [], (inner, i) => nest(inner, d + 1, [...index, i]));
  };
  nest(scope, 0, []);
}
