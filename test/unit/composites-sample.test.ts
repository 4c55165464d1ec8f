import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PhiloxCounter, philox, uniform } from '../../src/composites/philox.ts';
import { sample } from '../../src/composites/sample.ts';
import { samplingInputs, samplingState } from '../../src/composites/step.ts';
import { type TensorType, tensor } from '../../src/ir/types.ts';
import { assertClose, compile, generator, integer, normal } from './composites-harness.ts';

/** Philox4x32-10 with big integers. */
function scalarPhilox(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [a, b, c, d] = counter.map(BigInt);
  let [k, l] = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const [p, q] = [a * 0xd2511f53n, c * 0xcd9e8d57n];
    [a, b, c, d] = [(q >> 32n) ^ b ^ k, q & mask, (p >> 32n) ^ d ^ l, p & mask];
    [k, l] = [(k + 0x9e3779b9n) & mask, (l + 0xbb67ae85n) & mask];
  }
  return [a, b, c, d].map(Number);
}

/** Random123's `kat_vectors`: counter, key, result. */
const vectors = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [Array(4).fill(0xffffffff), Array(2).fill(0xffffffff), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
] as const satisfies readonly (readonly (readonly number[])[])[];

test('philox gives the published vectors', async () => {
  const R = { sym: 'R', max: 64 } as const;
  const word = tensor('ui32', [R]);
  const run = await compile({ c0: word, c1: word, c2: word, c3: word, k0: word, k1: word }, (b, v) => {
    const [w0, w1, w2, w3]: PhiloxCounter = philox(b, [v.c0, v.c1, v.c2, v.c3], [v.k0, v.k1]);
    return { w0, w1, w2, w3, u: uniform(b, w0) };
  });
  for (const [counter, key, words] of vectors) assert.deepEqual(scalarPhilox(counter, key), words);
  const random = generator(7);
  const words = () => integer(random, 2 ** 32);
  const rows: (readonly (readonly number[])[])[] = [...vectors];
  while (rows.length < 50)
    rows.push([
      [words(), words(), words(), words()],
      [words(), words()],
    ]);
  const counter = (i: number) => rows.map((row) => row[0][i]);
  const key = (i: number) => rows.map((row) => row[1][i]);
  const out = await run(
    { c0: counter(0), c1: counter(1), c2: counter(2), c3: counter(3), k0: key(0), k1: key(1) },
    { R: rows.length },
  );
  rows.forEach(([c, k], i) => {
    assert.deepEqual([out.w0[i], out.w1[i], out.w2[i], out.w3[i]], scalarPhilox(c, k));
    assert.equal(out.u[i], uniformOf(scalarPhilox(c, k)[0]));
  });
});

function uniformOf(word: number): number {
  return ((word >>> 8) | 1) / 2 ** 24;
}

const V = 37;
const limits = {
  maxTokens: 8,
  maxSequences: 4,
  maxRows: 16,
  blockSize: 4,
  blockCount: 4,
  blocksPerSequence: 4,
  maxBias: 6,
};
const inputs = samplingInputs(limits);
type InputName = (typeof inputs)[number]['name'];
const [R] = inputs[0].type.shape;
const types = {
  ...(Object.fromEntries(inputs.map(({ name, type }) => [name, type])) as Record<InputName, TensorType>),
  logits: tensor('f32', [R, V]),
  counts: samplingState(limits, V)[1].type,
};

function compileSample() {
  return compile(types, (b, values) => {
    const { ids, logprobs, counts } = sample(b, values.logits, values);
    return { ids, logprobs, counts };
  });
}

interface Row {
  readonly logits: readonly number[];
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: readonly [number, number];
  readonly position?: number;
  readonly countRow?: number;
  /** Repetition, frequency, presence. */
  readonly penalties?: readonly [number, number, number];
  readonly bias?: Readonly<Record<number, number>>;
}

function fill(rows: readonly Row[], counts: readonly number[]): Record<keyof typeof types, number[]> {
  const bias = rows.flatMap(({ bias = {} }, row) => Object.entries(bias).map(([id, v]) => [row, Number(id), v]));
  while (bias.length < limits.maxBias) bias.push([-1, 3, 100]);
  return {
    logits: rows.flatMap(({ logits }) => logits),
    temperature: rows.map(({ temperature = 0 }) => temperature),
    topK: rows.map(({ topK = 0 }) => topK),
    topP: rows.map(({ topP = 1 }) => topP),
    minP: rows.map(({ minP = 0 }) => minP),
    seed: rows.flatMap(({ seed = [0, 0] }) => seed),
    drawPosition: rows.map(({ position = 0 }) => position),
    countRow: rows.map(({ countRow = 0 }) => countRow),
    penalties: rows.flatMap(({ penalties = [1, 0, 0] }) => penalties),
    biasRow: bias.map(([row]) => row),
    biasToken: bias.map(([, id]) => id),
    biasValue: bias.map(([, , value]) => value),
    counts: [...counts],
  };
}

/** Logits after bias and penalties. */
function adjust({ logits, bias = {}, countRow = 0, penalties = [1, 0, 0] }: Row, counts: readonly number[]): number[] {
  const [repetition, frequency, presence] = penalties;
  return logits.map((logit, id) => {
    const biased = logit + (bias[id] ?? 0);
    const prompt = counts[(countRow * 2 + 0) * V + id];
    const answer = counts[(countRow * 2 + 1) * V + id];
    const repeated = prompt + answer === 0 ? biased : biased > 0 ? biased / repetition : biased * repetition;
    return repeated - frequency * answer - (answer > 0 ? presence : 0);
  });
}

/**
 * Candidates with normalized probabilities, in descending order if top-k or top-p leave any out, else in that of ids: filters one
 * after the other, each as it is usually told.
 */
function candidates(row: Row, counts: readonly number[]): { id: number; p: number }[] {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = row;
  const normalize = (list: { id: number; p: number }[]) => {
    const total = list.reduce((sum, { p }) => sum + p, 0);
    return list.map(({ id, p }) => ({ id, p: p / total }));
  };
  const x = adjust(row, counts).map((v) => v / temperature);
  const max = Math.max(...x);
  let list = x.map((v, id) => ({ id, p: Math.exp(v - max) }));
  if ((topK > 0 && topK < V) || topP < 1) list.sort((a, b) => b.p - a.p || a.id - b.id);
  if (topK > 0) list = list.slice(0, topK);
  list = normalize(list);
  if (topP < 1) {
    // The smallest set whose probabilities reach topP.
    let sum = 0;
    let size = 0;
    while (size < list.length && (size === 0 || sum < topP)) sum += list[size++].p;
    list = normalize(list.slice(0, size));
  }
  const most = Math.max(...list.map(({ p }) => p));
  return normalize(list.filter(({ p }) => p >= minP * most));
}

function logSoftmax(logits: readonly number[], id: number): number {
  const max = Math.max(...logits);
  return logits[id] - max - Math.log(logits.reduce((sum, v) => sum + Math.exp(v - max), 0));
}

test('greedy rows take the largest adjusted logit, the lower id of equal ones', async () => {
  const run = await compileSample();
  const random = generator(8);
  const counts = Array.from({ length: 4 * 2 * V }, () => Math.max(0, integer(random, 6) - 3));
  const tie = normal(random, V).map((v, id) => (id === 9 || id === 30 ? 50 : v));
  const rows: Row[] = [
    { logits: normal(random, V) },
    { logits: tie, countRow: 1 },
    { logits: tie, countRow: 1, bias: { 9: -1, 20: 3 } },
    { logits: normal(random, V), countRow: 2, bias: { 5: 40 } },
    { logits: normal(random, V), countRow: 3, bias: { 36: Number.NEGATIVE_INFINITY }, penalties: [1.3, 0, 0] },
    { logits: normal(random, V), countRow: 3, penalties: [1, 0.7, 0] },
    { logits: normal(random, V), countRow: 1, penalties: [0.9, -0.3, 1.5] },
    { logits: Array(V).fill(0), countRow: 0 },
  ];
  const out = await run(fill(rows, counts), { R: rows.length });
  const after = [...counts];
  rows.forEach((row, r) => {
    const x = adjust(row, counts);
    const expected = x.indexOf(Math.max(...x));
    assert.equal(out.ids[r], expected, `row ${r}`);
    after[((row.countRow ?? 0) * 2 + 1) * V + expected]++;
  });
  assert.equal(out.ids[1], 9);
  assert.equal(out.ids[2], 30);
  assert.equal(out.ids[3], 5);
  assertClose(
    out.logprobs,
    rows.map(({ logits }, r) => logSoftmax(logits, out.ids[r])),
    2e-6,
  );
  assert.deepEqual(out.counts, after);
});

test('random rows draw what the inverse of the cumulative distribution says', async () => {
  const run = await compileSample();
  const random = generator(9);
  const counts = Array.from({ length: 4 * 2 * V }, () => Math.max(0, integer(random, 5) - 3));
  let atBoundary = 0;
  let drawn = 0;
  const drawnRanks = new Set<number>();
  for (let round = 0; round < 25; round++) {
    const rows: Row[] = Array.from({ length: 1 + integer(random, 16) }, () => ({
      logits: normal(random, V, 2),
      temperature: [0, 0.3, 1, 1.7][integer(random, 4)],
      topK: [0, 1, 5, 20, V, 1000][integer(random, 6)],
      topP: [1, 0.9, 0.5, 0][integer(random, 4)],
      minP: [0, 0.05, 0.4][integer(random, 3)],
      seed: [integer(random, 2 ** 32), integer(random, 2 ** 32)],
      position: integer(random, 2 ** 31),
      countRow: integer(random, 4),
      penalties: [[1, 0, 0] as const, [1.2, 0.1, 0.2] as const][integer(random, 2)],
    }));
    rows[0] = { ...rows[0], bias: { 3: 1.5, 4: Number.NEGATIVE_INFINITY } };
    const out = await run(fill(rows, counts), { R: rows.length });
    rows.forEach((row, r) => {
      const { temperature = 0, seed = [0, 0], position = 0 } = row;
      if (temperature === 0) {
        const x = adjust(row, counts);
        assert.equal(out.ids[r], x.indexOf(Math.max(...x)));
        return;
      }
      drawn++;
      const u = uniformOf(scalarPhilox([position, 0, 0, 0], seed)[0]);
      let cumulative = 0;
      const kept = candidates(row, counts);
      const rank = kept.findIndex(({ p }) => {
        cumulative += p;
        return cumulative > u;
      });
      drawnRanks.add(rank);
      if (out.ids[r] === kept[rank]?.id) return;
      // Rounding may tip a draw to the neighbour only where u is next to the border between them.
      atBoundary++;
      const border = kept.slice(0, rank).reduce((sum, { p }) => sum + p, 0);
      const distance = Math.min(Math.abs(u - border), Math.abs(u - border - (kept[rank]?.p ?? 0)));
      assert(distance < 1e-6, `round ${round} row ${r}: ${out.ids[r]}, not ${kept[rank]?.id}`);
    });
    assertClose(
      out.logprobs,
      rows.map(({ logits }, r) => logSoftmax(logits, out.ids[r])),
      3e-6,
    );
  }
  assert(drawn > 100 && drawnRanks.size > 5 && atBoundary <= 1);
});

test('draws follow the distribution, and depend on seed and position alone', async () => {
  const run = await compileSample();
  const logits = [2, 1.5, 1, 0, -1, ...Array<number>(V - 5).fill(-100)];
  const expected = [0, 1, 2, 3, 4].map((id) => Math.exp(logSoftmax(logits, id)));
  const counts = Array<number>(4 * 2 * V).fill(0);
  const seen = Array<number>(V).fill(0);
  const draws = 16 * 125;
  const bySeed = new Map<number, number>();
  for (let position = 0; position < draws; position += 16) {
    const rows = Array.from(
      { length: 16 },
      (_, i): Row => ({ logits, temperature: 1, seed: [5, 6], position: position + i }),
    );
    const { ids } = await run(fill(rows, counts), { R: 16 });
    ids.forEach((id, i) => {
      seen[id]++;
      bySeed.set(position + i, id);
    });
  }
  const chiSquare = expected.reduce((sum, p, id) => sum + (seen[id] - p * draws) ** 2 / (p * draws), 0);
  assert(chiSquare < 18.5, `chi square ${chiSquare} of 4 degrees of freedom`); // p = 0.001
  // Other rows, another order, and filters that keep everything change no draw.
  const shuffled = [700, 3, 1999, 42].map(
    (position): Row => ({ logits, temperature: 1, seed: [5, 6], position, topK: V, topP: 1, minP: 0 }),
  );
  const noise: Row = { logits: normal(generator(1), V), temperature: 2, topP: 0.5, penalties: [1.1, 0, 0] };
  const { ids } = await run(fill([noise, ...shuffled], counts), { R: 5 });
  assert.deepEqual(
    ids.slice(1),
    [700, 3, 1999, 42].map((position) => bySeed.get(position)),
  );
});

test('top-p stops where its share is reached exactly; min-p and top-k keep whole ties of their border', async () => {
  const run = await compileSample();
  const counts = Array<number>(4 * 2 * V).fill(0);
  const logits = [5, 7, 7, 5, 7, 7, ...Array<number>(V - 6).fill(Number.NEGATIVE_INFINITY)];
  const half = 2 * Math.log(2);
  const drawn = async (row: Partial<Row>) => {
    const ids = new Set<number>();
    for (let position = 0; position < 64; position += 16) {
      const rows = Array.from(
        { length: 16 },
        (_, i): Row => ({ logits, temperature: 1, position: position + i, ...row }),
      );
      for (const id of (await run(fill(rows, counts), { R: 16 })).ids) ids.add(id);
    }
    return [...ids].sort((a, b) => a - b);
  };
  const four = { logits: logits.map((v) => (v === 7 ? 7 : Number.NEGATIVE_INFINITY)) };
  assert.deepEqual(await drawn({ ...four, topP: 0.5 }), [1, 2]);
  assert.deepEqual(await drawn({ ...four, topP: 0.51 }), [1, 2, 4]);
  assert.deepEqual(await drawn({ ...four, topP: 0 }), [1]);
  assert.deepEqual(await drawn({ ...four, topK: 3 }), [1, 2, 4]);
  assert.deepEqual(await drawn({ minP: 1 }), [1, 2, 4, 5]);
  assert.deepEqual(await drawn({ temperature: 2 / half, minP: 0.24 }), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(await drawn({ temperature: 2 / half, minP: 0.26 }), [1, 2, 4, 5]);
});

test('a count row outside the state is dropped', async () => {
  const run = await compileSample();
  const counts = Array<number>(4 * 2 * V).fill(0);
  const logits = normal(generator(11), V);
  const out = await run(
    fill(
      [
        { logits, countRow: -1 },
        { logits, countRow: 4 },
        { logits, countRow: 2 },
      ],
      counts,
    ),
    { R: 3 },
  );
  const id = logits.indexOf(Math.max(...logits));
  const expected = [...counts];
  expected[(2 * 2 + 1) * V + id] = 1;
  assert.deepEqual(out.counts, expected);
});

test('a vocabulary of one token', async () => {
  const run = await compile(
    { ...types, logits: tensor('f32', [R, 1]), counts: samplingState(limits, 1)[1].type },
    (b, values) => ({ ...sample(b, values.logits, values) }),
  );
  const values = fill([{ logits: [3] }, { logits: [-2], temperature: 1, topP: 0.5 }], Array<number>(8).fill(0));
  const out = await run({ ...values, biasToken: values.biasToken.map(() => 0) }, { R: 2 });
  assert.deepEqual(out.ids, [0, 0]);
  assertClose(out.logprobs, [0, 0], 0);
});
