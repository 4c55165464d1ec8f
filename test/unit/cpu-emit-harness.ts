/** Runs emitted kernels on buffers that end at an inaccessible page, and little functions that build kernels. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type {
  Axis,
  Binary,
  Buffer,
  Expression,
  Kernel,
  Local,
  ScalarElement,
  ScalarType,
  Statement,
  Unary,
} from '../../src/compiler/kernel/language.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { kernelCode } from '../../src/devices/cpu/machine-code.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import { type Machine, machineOf, type Place } from './machine.ts';

const avx2 = machineOf('avx2');
/** Why there is nothing to run code for AVX2. */
export const skip = typeof avx2 === 'string' ? avx2 : false;

/** A test for each width of vectors that kernels are emitted for; the sets beyond get the code of `avx512`. */
export function testEmitted(name: string, run: (machine: Machine, t: TestContext) => void | Promise<void>): void {
  for (const set of ['avx2', 'avx512', 'neon'] as const) {
    const machine = machineOf(set);
    if (typeof machine === 'string') test(`${name} (${set})`, { skip: machine });
    else test(`${name} (${set})`, (t) => run(machine, t));
  }
}

const CANARY = 0xa7;

/** The content of every buffer after a run; each starts as given, and what lies around it must not change. */
export function runEmitted(
  kernel: Kernel,
  machine: Machine,
  inputs: readonly Uint8Array[],
  dims: readonly number[] = [],
  threads = 1,
  emitted = emitKernel(kernel, machine.target),
): Uint8Array[] {
  const pool = pools.get(machine) ?? new Map<number, Place[]>();
  pools.set(machine, pool);
  const used: Place[] = [];
  const take = (bytes: number): Place => {
    const size = 4096 + Math.ceil((bytes + 1) / 4096) * 4096;
    const place = pool.get(size)?.pop() ?? machine.map(size);
    used.push(place);
    return place;
  };
  try {
    const places = inputs.map((input, i) => {
      const element = elementBytes((kernel.buffers[i] as Buffer).element);
      const { address, bytes } = take(input.length);
      bytes.fill(CANARY);
      // The end lies at the guard page, so that one element too many is a fault.
      const offset = Math.floor((bytes.length - input.length) / element) * element;
      bytes.set(input, offset);
      return { bytes, offset, address: address + offset };
    });
    const block = take(8 * (inputs.length + dims.length));
    const words = new BigUint64Array(block.bytes.buffer, block.bytes.byteOffset, inputs.length + dims.length);
    places.forEach(({ address }, i) => {
      words[i] = BigInt(address);
    });
    dims.forEach((dim, i) => {
      words[inputs.length + i] = BigInt(dim);
    });
    const calls = Array.from({ length: threads }, (_, i) => [block.address, i, threads] as const);
    machine.call(kernelCode(emitted, machine.target).bytes, calls, used);
    return places.map(({ bytes, offset }, i) => {
      const end = offset + (inputs[i] as Uint8Array).length;
      const clean = (part: Uint8Array) => part.every((byte) => byte === CANARY);
      assert.ok(clean(bytes.subarray(0, offset)) && clean(bytes.subarray(end)), 'wrote outside of a buffer');
      return bytes.slice(offset, end);
    });
  } finally {
    for (const place of used) pool.set(place.bytes.length, [...(pool.get(place.bytes.length) ?? []), place]);
  }
}

/** Addresses come back only when views are collected, and a system has not so many. */
const pools = new Map<Machine, Map<number, Place[]>>();

export const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
export const poison = (bytes: number) => new Uint8Array(bytes).fill(0xcd);

// ── building kernels ──

export const axis = (name: string, kind: Axis['kind'], extent: number | Expression): Axis => ({
  name,
  kind,
  extent: typeof extent === 'number' ? index(extent) : extent,
});
export const index = (value: number): Expression => ({ kind: 'constant', type: 'index', value });
export const constant = (type: ScalarType, value: number | bigint): Expression => ({ kind: 'constant', type, value });
export const of = (a: Axis): Expression => ({ kind: 'axis', type: 'index', axis: a });
export const get = (l: Local): Expression => ({ kind: 'local', type: l.type, local: l });
export const local = (name: string, type: ScalarType): Local => ({ name, type });
export const buffer = (
  name: string,
  element: ScalarElement,
  elements: number,
  access: Buffer['access'] = 'read',
): Buffer => ({ name, element, elements, access });
export const load = (b: Buffer, at: Expression): Expression => ({
  kind: 'load',
  type: b.element,
  buffer: b,
  index: at,
});
export const binary = (op: Binary, a: Expression, b: Expression): Expression => ({
  kind: 'binary',
  type: a.type,
  op,
  a,
  b,
});
export const unary = (op: Unary, x: Expression): Expression => ({
  kind: 'unary',
  type: x.type as ScalarElement,
  op,
  x,
});
export const convert = (type: ScalarType, x: Expression): Expression => ({ kind: 'convert', type, x });
export const plus = (a: Expression, b: Expression) => binary('add', a, b);
export const times = (a: Expression, b: Expression) => binary('multiply', a, b);
export const store = (b: Buffer, at: Expression, value: Expression, where?: Expression): Statement => ({
  kind: 'store',
  buffer: b,
  index: at,
  value,
  ...(where && { where }),
});
export const loop = (a: Axis, ...body: Statement[]): Statement => ({ kind: 'for', axis: a, body });
export const define = (l: Local, value: Expression): Statement => ({ kind: 'let', local: l, value });
export const kernel = (
  buffers: readonly Buffer[],
  body: readonly Statement[],
  dims: Kernel['dims'] = [],
  privates: readonly Buffer[] = [],
): Kernel => ({
  name: 'test',
  buffers,
  privates,
  dims,
  body,
});
