/** Pieces of kernels: together they do what the whole does, and what cannot be cut is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkKernel } from '../../src/compiler/kernel/check.ts';
import { evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import type { Kernel } from '../../src/compiler/kernel/language.ts';
import { pieceOf, piecesOf } from '../../src/compiler/kernel/piece.ts';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import { generator, normals } from './cpu-products-harness.ts';

const T = { sym: 'T', max: 12 } as const;
const [heads, dim] = [6, 8];
const N = heads * dim;
const input = (name: string, type: Parameter['type']) => ({ name, type, role: 'input' }) satisfies Parameter;
const parameters: readonly Parameter[] = [
  input('x', tensor('f32', [T, 2 * N])),
  input('angles', tensor('f32', [T, dim])),
  input('scale', tensor('f32', [dim])),
  input('slots', tensor('i32', [T])),
  { name: 'pool', type: tensor('f32', [20, heads, dim]), role: 'state' },
];
type Body = (b: Builder, v: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>;

/** The one kernel of a program. */
function kernelOf(body: Body): Kernel {
  const program = new ProgramBuilder().program(parameters, (b, v) => ({ pool: v.pool, ...body(b, v) }), {
    pool: 'pool',
  });
  const [step, ...others] = planProgram(program).main.steps;
  assert.equal(others.length, 0);
  return step?.kind === 'launch' ? step.kernel : assert.fail();
}

const headsOf = (b: Builder, x: Value, from = 0) => b.reshape(b.slice(x, 1, from, from + N), [T, heads, dim]);

const cut: Readonly<Record<string, Body>> = {
  'columns of two places': (b, { x }) => ({
    out: b.multiply(b.slice(x, 1, 0, N), b.negate(b.slice(x, 1, N, 2 * N))),
  }),
  'heads and what tokens and dimensions have': (b, { x, angles, scale }) => {
    const shape = [T, heads, dim];
    const turned = b.multiply(headsOf(b, x, 8), b.broadcast(angles, shape, [0, 2]));
    return { out: b.add(turned, b.broadcast(scale, shape, [2])) };
  },
  'rows that are reduced': (b, { x }) => {
    const y = headsOf(b, x);
    return { out: b.subtract(y, b.broadcast(b.reduce('add', y, 0, [2]), [T, heads, dim], [0, 1])) };
  },
  'places that data says': (b, { pool, slots, x }) => ({ pool: b.put(pool, slots, headsOf(b, x, N)) }),
};

for (const [name, body] of Object.entries(cut)) {
  test(`pieces: ${name}`, () => {
    const kernel = kernelOf(body);
    const pieces = piecesOf(kernel, 'T') ?? assert.fail();
    const next = generator(7);
    const bytes = kernel.buffers.map(({ element, elements, access }) => {
      const all = new Uint8Array(2 * elements * elementBytes(element)).fill(0xa5);
      if (access !== 'read') return all;
      const numbers =
        element === 'i32' ? Int32Array.from({ length: elements }, (_, i) => (i * 7) % 20) : normals(elements, next);
      all.set(new Uint8Array(numbers.buffer));
      return all;
    });
    for (const [tokens, chunk, columns] of [
      [12, 12, pieces.columnCount],
      [12, 5, pieces.columnCount / 3],
      [7, 2, 2],
      [1, 1, pieces.columnCount / 2],
    ] as const) {
      const [whole, apart] = [0, 1].map(() => bytes.map((buffer) => buffer.slice())) as [Uint8Array[], Uint8Array[]];
      evaluatorOf(kernel)(
        whole.map((buffer) => ({ bytes: buffer, offset: 0 })),
        { T: tokens },
      );
      const piece = pieceOf(pieces, columns, new Map());
      checkKernel(piece);
      for (let column = 0; column < pieces.columnCount; column += columns) {
        for (let token = 0; token < tokens; token += chunk) {
          const places = kernel.buffers.map((buffer, i) => {
            const { perToken, perColumn } = pieces.moves.get(buffer) ?? assert.fail();
            const offset = elementBytes(buffer.element) * (perToken * token + perColumn * column);
            // An evaluator wants addresses that are multiples of 8.
            return { at: apart[i] ?? assert.fail(), offset, bytes: apart[i]?.slice(offset) ?? assert.fail() };
          });
          evaluatorOf(piece)(
            places.map((place) => ({ bytes: place.bytes, offset: 0 })),
            { T: Math.min(chunk, tokens - token) },
          );
          for (const place of places) place.at.set(place.bytes, place.offset);
        }
      }
      for (const i of kernel.buffers.keys()) assert.deepEqual(apart[i], whole[i]);
    }
  });
}

const whole: Readonly<Record<string, Body>> = {
  'rows that are reduced over columns': (b, { x }) => ({
    out: b.subtract(x, b.broadcast(b.reduce('add', x, 0, [1]), [T, 2 * N], [0])),
  }),
  'columns that are counted': (b, { x }) => ({ out: b.add(x, b.iota('f32', [T, 2 * N], 1)) }),
  'columns that share an element': (b, { x }) => {
    const wide = b.broadcast(b.slice(x, 1, 0, heads), [T, heads, dim], [0, 1]);
    return { out: b.add(b.slice(x, 1, N, 2 * N), b.reshape(wide, [T, N])) };
  },
};

test('pieces: what depends on where a piece is has none', () => {
  for (const [name, body] of Object.entries(whole)) assert.equal(piecesOf(kernelOf(body), 'T'), undefined, name);
  const [first] = Object.values(cut);
  assert.equal(piecesOf(kernelOf(first ?? assert.fail()), 'S'), undefined);
});
