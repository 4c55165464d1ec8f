/** GB/s of emitted kernels on arrays larger than the caches, one thread, for each width of vectors that the processor has. */
import type { Axis, Buffer, Expression, Kernel, Statement } from '../src/compiler/kernel/language.ts';
import { emitKernel } from '../src/devices/cpu/emit/emit.ts';
import { type Target, usableTargets } from '../src/devices/cpu/target.ts';
import { system } from './system.ts';

const COUNT = 1 << 26;
const ROW = 4096;
const index = (value: number): Expression => ({ kind: 'constant', type: 'index', value });
const axis = (name: string, kind: Axis['kind'], extent: number): Axis => ({ name, kind, extent: index(extent) });
const of = (a: Axis): Expression => ({ kind: 'axis', type: 'index', axis: a });
const f32 = (name: string, access: Buffer['access'], elements = COUNT): Buffer => ({
  name,
  element: 'f32',
  elements,
  access,
});
const load = (buffer: Buffer, at: Expression): Expression => ({ kind: 'load', type: 'f32', buffer, index: at });
const pair = (op: 'add' | 'multiply', a: Expression, b: Expression): Expression => ({
  kind: 'binary',
  type: a.type,
  op,
  a,
  b,
});
const store = (buffer: Buffer, at: Expression, value: Expression): Statement => ({
  kind: 'store',
  buffer,
  index: at,
  value,
});

const memories = [0, 1, 2].map(() => system.mapMemory(COUNT * 4, { huge: true, prefault: true }));
new Float32Array(memories[0].bytes().buffer, memories[0].bytes().byteOffset, COUNT).fill(0.7);

const targets = usableTargets(system.cpuFeatures()).filter(({ name }) => name === 'avx2' || name === 'avx512');

function measure(kernel: Kernel, bytes: number): void {
  for (const target of targets) measureOn(target, kernel, bytes);
}

function measureOn(target: Target, kernel: Kernel, bytes: number): void {
  const start = performance.now();
  const { bytes: text } = emitKernel(kernel, target);
  const emitted = performance.now() - start;
  using code = system.mapCode(text);
  using block = system.mapMemory(4096);
  const view = block.bytes();
  const words = new BigUint64Array(view.buffer, view.byteOffset, 3);
  memories.forEach(({ address }, i) => {
    words[i] = BigInt(address);
  });
  const call = code.callable(0, { takes: ['address', 'i64', 'i64'], returns: 'void' });
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const before = performance.now();
    call(block.address, 0, 1);
    best = Math.min(best, performance.now() - before);
  }
  const rate = (bytes / best / 1e6).toFixed(1);
  console.log(
    `${kernel.name.padEnd(12)} ${target.name.padEnd(7)} ${rate.padStart(6)} GB/s  (emitted in ${emitted.toFixed(1)} ms, ${text.length} bytes)`,
  );
}

const i = axis('i', 'vector', COUNT);
const elementwise = (name: string, buffers: Buffer[], value: Expression): Kernel => {
  const out = f32('out', 'write');
  const body: Statement[] = [{ kind: 'for', axis: i, body: [store(out, of(i), value)] }];
  return { name, buffers: [...buffers, out], privates: [], dims: [], body };
};
const [a, b] = [f32('a', 'read'), f32('b', 'read')];
const x = load(a, of(i));
const unary = (op: 'logistic' | 'exponential' | 'tanh'): Expression => ({ kind: 'unary', type: 'f32', op, x });
const row = axis('row', 'parallel', COUNT / ROW);
const column = axis('column', 'serial', ROW);
const sum = { name: 'sum', type: 'f32' } as const;
const sums = f32('sums', 'write', COUNT / ROW);
const zero: Expression = { kind: 'constant', type: 'f32', value: 0 };

measure(elementwise('copy', [a], x), COUNT * 8);
measure(elementwise('add', [a, b], pair('add', x, load(b, of(i)))), COUNT * 12);
measure(elementwise('exp', [a], unary('exponential')), COUNT * 8);
measure(elementwise('tanh', [a], unary('tanh')), COUNT * 8);
measure(elementwise('silu', [a], pair('multiply', x, unary('logistic'))), COUNT * 8);
for (const op of ['add', 'maximum'] as const) {
  const value = load(a, pair('add', pair('multiply', of(row), index(ROW)), of(column)));
  const body: Statement[] = [
    { kind: 'reduce', op, axes: [column], body: [], value, init: zero, into: sum },
    store(sums, of(row), { kind: 'local', type: 'f32', local: sum }),
  ];
  measure(
    { name: `row ${op}`, buffers: [a, sums], privates: [], dims: [], body: [{ kind: 'for', axis: row, body }] },
    COUNT * 4,
  );
}
for (const memory of memories) memory[Symbol.dispose]();
