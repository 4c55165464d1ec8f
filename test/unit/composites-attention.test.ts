import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { type AttentionNumerics, pagedAttention } from '../../src/composites/paged_attention.ts';
import { tensor } from '../../src/ir/types.ts';
import { decodeKv, encodeKv, isCoded, type KvFormat, kvRow } from '../../src/numerics/kv-format.ts';
import { assertClose, assertSameBits, compile, generator, integer, normal } from './composites-harness.ts';

const T = { sym: 'T', max: 64 } as const;
const S = { sym: 'S', max: 4 } as const;
const columns = 11;
const blocks = 48;

interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly blockSize: number;
  readonly partition: number;
  readonly pool: KvFormat;
  readonly window?: number;
  readonly softCap?: number;
  readonly bidirectional?: true;
  readonly sinks?: boolean;
  readonly numerics?: AttentionNumerics;
}

const i16 = { numerics: 'i16' } as const;
const cases: readonly Case[] = [
  { heads: 1, kvHeads: 1, keyDim: 4, valueDim: 4, blockSize: 4, partition: 8, pool: 'f32' },
  { heads: 4, kvHeads: 2, keyDim: 8, valueDim: 8, blockSize: 4, partition: 16, pool: 'f16', window: 7 },
  { heads: 8, kvHeads: 1, keyDim: 6, valueDim: 10, blockSize: 2, partition: 4, pool: 'bf16', softCap: 2.5 },
  { heads: 6, kvHeads: 3, keyDim: 4, valueDim: 2, blockSize: 4, partition: 4, pool: 'f32', sinks: true, window: 1 },
  { heads: 3, kvHeads: 3, keyDim: 5, valueDim: 3, blockSize: 1, partition: 6, pool: 'f32', sinks: true, softCap: 1 },
  { heads: 2, kvHeads: 1, keyDim: 4, valueDim: 4, blockSize: 4, partition: 256, pool: 'bf16' },
  { heads: 6, kvHeads: 3, keyDim: 5, valueDim: 3, blockSize: 2, partition: 6, pool: 'int8', sinks: true, softCap: 1 },
  { heads: 4, kvHeads: 2, keyDim: 8, valueDim: 16, blockSize: 4, partition: 16, pool: 'int4', window: 7 },
  { ...i16, heads: 6, kvHeads: 3, keyDim: 5, valueDim: 3, blockSize: 2, partition: 6, pool: 'int8', sinks: true },
  { ...i16, heads: 4, kvHeads: 2, keyDim: 16, valueDim: 8, blockSize: 4, partition: 40, pool: 'int8', softCap: 1 },
  { ...i16, heads: 3, kvHeads: 1, keyDim: 8, valueDim: 16, blockSize: 4, partition: 20, pool: 'int4', window: 7 },
];

const scale = 0.4;

function compileCase({ heads, kvHeads, keyDim, valueDim, pool, sinks, ...options }: Case) {
  const { blockSize } = options;
  const poolType = (dim: number) => {
    const { element, length } = kvRow(pool, dim);
    return tensor(element, [blocks * blockSize, kvHeads, length]);
  };
  return compile(
    {
      q: tensor('f32', [T, heads, keyDim]),
      k: poolType(keyDim),
      v: poolType(valueDim),
      positions: tensor('i32', [T]),
      sequence: tensor('i32', [T]),
      ctxLen: tensor('i32', [S]),
      blockTable: tensor('i32', [S, columns]),
      sinks: tensor('f32', [heads]),
    },
    (b, { k, v, ...values }) => ({
      y: pagedAttention(
        b,
        { ...values, kPool: k, vPool: v, sinks: sinks ? values.sinks : undefined },
        { scale, ...options, ...(isCoded(pool) && { kv: pool }) },
      ),
    }),
  );
}

/** Contexts of several sequences, whose blocks lie interleaved in the pools. */
function makeWorld(c: Case, lengths: readonly number[], seed: number) {
  const random = generator(seed);
  const free = Array.from({ length: blocks }, (_, i) => i).sort(() => random() - 0.5);
  const table = lengths.map((length) =>
    Array.from({ length: columns }, (_, i) => (i * c.blockSize < length ? (free.pop() ?? -1) : -1)),
  );
  // Values that every pool type holds exactly.
  const coarse = (count: number) => Array.from({ length: count }, () => (integer(random, 129) - 64) / 32);
  return {
    table,
    lengths,
    k: coarse(blocks * c.blockSize * c.kvHeads * c.keyDim),
    v: coarse(blocks * c.blockSize * c.kvHeads * c.valueDim),
    q: lengths.map((length) => normal(random, length * c.heads * c.keyDim, 2)),
    sinks: normal(random, c.heads),
  };
}
type World = ReturnType<typeof makeWorld>;

/** Heads of `dim` values each as they lie in the pool, and as they come out of it. */
function rowsOf<T>(values: readonly number[], dim: number, row: (head: Float32Array) => T): T[] {
  return Array.from({ length: values.length / dim }, (_, i) =>
    row(Float32Array.from(values.slice(i * dim, (i + 1) * dim))),
  );
}
function stored({ pool }: Case, values: readonly number[], dim: number): readonly number[] {
  return isCoded(pool) ? rowsOf(values, dim, (head) => [...encodeKv(pool, head)]).flat() : values;
}
function readBack({ pool }: Case, values: readonly number[], dim: number): readonly number[] {
  if (!isCoded(pool)) return values;
  return rowsOf(values, dim, (head) => [...decodeKv(pool, encodeKv(pool, head), dim)]).flat();
}

/** A token of the step. */
interface Token {
  readonly s: number;
  readonly p: number;
}

function queryOf(c: Case, world: World, { s, p }: Token): number[] {
  const width = c.heads * c.keyDim;
  return world.q[s].slice(p * width, (p + 1) * width);
}

/** Straight from the definition, in f64; `seen`: keys 0.. that the token may see. */
function attention(c: Case, world: World, token: Token, seen = token.p + 1): number[] {
  const q = queryOf(c, world, token);
  const { k, v } = { k: readBack(c, world.k, c.keyDim), v: readBack(c, world.v, c.valueDim) };
  const out: number[] = [];
  for (let h = 0; h < c.heads; h++) {
    const kv = Math.floor(h / (c.heads / c.kvHeads));
    const scores: number[] = [];
    const rows: number[] = [];
    for (let key = 0; key < seen; key++) {
      const block = world.table[token.s][Math.floor(key / c.blockSize)];
      if (block < 0 || (c.window !== undefined && key <= token.p - c.window)) continue;
      const row = (block * c.blockSize + (key % c.blockSize)) * c.kvHeads + kv;
      let score = 0;
      for (let d = 0; d < c.keyDim; d++) score += q[h * c.keyDim + d] * k[row * c.keyDim + d];
      score *= scale;
      scores.push(c.softCap === undefined ? score : c.softCap * Math.tanh(score / c.softCap));
      rows.push(row);
    }
    const sink = c.sinks ? Math.exp(world.sinks[h]) : 0;
    const total = scores.reduce((sum, score) => sum + Math.exp(score), sink);
    for (let d = 0; d < c.valueDim; d++) {
      const sum = rows.reduce((acc, row, i) => acc + Math.exp(scores[i]) * v[row * c.valueDim + d], 0);
      out.push(total === 0 ? 0 : sum / total);
    }
  }
  return out;
}

/** One step with these tokens; sequence s of the world is sequence `order.indexOf(s)` of the step. */
async function step(run: Awaited<ReturnType<typeof compileCase>>, c: Case, world: World, tokens: readonly Token[]) {
  const order = [...new Set(tokens.map(({ s }) => s))];
  const { y } = await run(
    {
      q: tokens.flatMap((token) => queryOf(c, world, token)),
      k: stored(c, world.k, c.keyDim),
      v: stored(c, world.v, c.valueDim),
      positions: tokens.map(({ p }) => p),
      sequence: tokens.map(({ s }) => order.indexOf(s)),
      ctxLen: order.map((s) => 1 + Math.max(...tokens.filter((token) => token.s === s).map(({ p }) => p))),
      blockTable: order.flatMap((s) => world.table[s]),
      sinks: world.sinks,
    },
    { T: tokens.length, S: order.length },
  );
  const width = c.heads * c.valueDim;
  return tokens.map((_, i) => y.slice(i * width, (i + 1) * width));
}

function prompt(s: number, from: number, to: number): Token[] {
  return Array.from({ length: to - from }, (_, i) => ({ s, p: from + i }));
}

const lengths = [17, 3, 10, 1];

test('paged attention agrees with its definition: groups, windows, soft caps, sinks, pool types', async () => {
  for (const [i, c] of cases.entries()) {
    const run = await compileCase(c);
    const limit = columns * c.blockSize;
    const world = makeWorld(
      c,
      lengths.map((length) => Math.min(length, limit)),
      10 + i,
    );
    const mixed = world.lengths.flatMap((length, s) => prompt(s, 0, length));
    for (const tokens of [[{ s: 0, p: 0 }], prompt(1, 0, 3), [{ s: 0, p: world.lengths[0] - 1 }], mixed]) {
      const actual = await step(run, c, world, tokens);
      tokens.forEach((token, at) => {
        // Integers of 16 bits of queries and of weights, and errors of scores are some of exponents.
        const tolerance = c.numerics === 'i16' ? 3e-4 : 3e-6;
        assertClose(
          actual[at],
          attention(c, world, token),
          tolerance,
          `case ${i}, token ${token.s}@${token.p}, element`,
        );
      });
    }
  }
});

test('bidirectional attention sees what comes after a token in its sequence, and nothing of others', async () => {
  const sizes = { heads: 4, kvHeads: 2, keyDim: 4, valueDim: 4, blockSize: 4, partition: 8, pool: 'f32' } as const;
  for (const c of [{ ...sizes, bidirectional: true } as const, { ...sizes, bidirectional: true, window: 5 } as const]) {
    const world = makeWorld(c, lengths, 3);
    const tokens = [2, 0, 1].flatMap((s) => prompt(s, 0, lengths[s]));
    const actual = await step(await compileCase(c), c, world, tokens);
    tokens.forEach((token, at) => {
      const expected = attention(c, world, token, lengths[token.s]);
      assertClose(actual[at], expected, 3e-6, `token ${token.s}@${token.p}, element`);
    });
  }
});

test('paged attention gives a token the same bits whatever shares its step and however its prompt was cut', async () => {
  for (const [i, c] of cases.entries()) {
    const run = await compileCase(c);
    const random = generator(40 + i);
    const world = makeWorld(
      c,
      [integer(random, 20) + 2, 9, 4, 1].map((length) => Math.min(length, columns * c.blockSize)),
      50 + i,
    );
    const whole = new Map<Token, number[]>();
    const reference = new Map<string, number[]>();
    for (const [s, length] of world.lengths.entries()) {
      const tokens = prompt(s, 0, length);
      (await step(run, c, world, tokens)).forEach((bits, at) => {
        whole.set(tokens[at], bits);
        reference.set(`${s}@${at}`, bits);
      });
    }
    const check = async (tokens: readonly Token[], what: string) => {
      const actual = await step(run, c, world, tokens);
      tokens.forEach(({ s, p }, at) => {
        assertSameBits(actual[at], reference.get(`${s}@${p}`) ?? [], `case ${i}, ${what}, token ${s}@${p}, element`);
      });
    };
    for (const { s, p } of whole.keys()) await check([{ s, p }], 'token by token');
    for (let from = 0, size = 1; from < world.lengths[0]; from += size, size = 1 + integer(random, 6)) {
      await check(prompt(0, from, Math.min(from + size, world.lengths[0])), 'in chunks');
    }
    await check(
      [3, 1, 0, 2].flatMap((s) => prompt(s, 0, world.lengths[s])),
      'all prompts together',
    );
    // A chunk of one prompt beside single tokens of the others.
    await check([{ s: 2, p: 3 }, ...prompt(0, 1, world.lengths[0]), { s: 1, p: world.lengths[1] - 1 }], 'mixed');
  }
});

test('what old blocks, foreign blocks and later positions hold never reaches a token', async () => {
  for (const [i, c] of cases.entries()) {
    const run = await compileCase(c);
    const world = makeWorld(c, [9, 3], 70 + i);
    const token: Token = { s: 1, p: 2 };
    const [before] = await step(run, c, world, [token]);
    const slots = new Set(
      [0, 1, 2].map((p) => world.table[1][Math.floor(p / c.blockSize)] * c.blockSize + (p % c.blockSize)),
    );
    const spoil = (pool: readonly number[], width: number) =>
      pool.map((value, at) => (slots.has(Math.floor(at / width)) ? value : Number.NaN));
    const spoiled = { ...world, k: spoil(world.k, c.kvHeads * c.keyDim), v: spoil(world.v, c.kvHeads * c.valueDim) };
    const [after, foreign] = await step(run, c, spoiled, [token, { s: 0, p: 8 }]);
    assertSameBits(after, before);
    assert(foreign.some(Number.isNaN));
  }
});

test('a token that sees nothing gives zeros, sinks or not', async () => {
  for (const c of [cases[0], cases[4]]) {
    const run = await compileCase(c);
    const world = makeWorld(c, [5], 80);
    world.table[0] = Array.from({ length: columns }, () => -1);
    const [y] = await step(run, c, world, [{ s: 0, p: 4 }]);
    assert.deepEqual(
      y,
      Array.from(y, () => 0),
    );
  }
});

test('shapes that do not fit are refused', async () => {
  const refused = (error: unknown) => isIngotError(error, 'InvalidProgram');
  await assert.rejects(compileCase({ ...cases[0], heads: 3, kvHeads: 2 }), refused);
  await assert.rejects(compileCase({ ...cases[0], partition: 6 }), refused);
  await assert.rejects(compileCase({ ...cases[0], numerics: 'i16' }), refused);
  await assert.rejects(
    compile(
      {
        q: tensor('f32', [T, 1, 8]),
        pool: tensor('ui8', [16, 1, 12]),
        ids: tensor('i32', [T]),
        ctxLen: tensor('i32', [S]),
        blockTable: tensor('i32', [S, columns]),
      },
      (b, { q, pool, ids, ctxLen, blockTable }) => {
        const operands = { q, kPool: pool, vPool: pool, positions: ids, sequence: ids, ctxLen, blockTable };
        return { y: pagedAttention(b, operands, { scale, blockSize: 4, partition: 8, kv: 'int4' }) };
      },
    ),
    refused,
  );
});
