/** Weights of AWQ and GPTQ, of shapes that are no whole tiles: each value is (q - z) * s, as the formats' definitions say it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import type { StoredTensor } from '../../src/formats/checkpoint.ts';
import { joinPackedIntegers, type PackedIntegers } from '../../src/formats/packed-integers.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { seededRandom } from './formats-support.ts';

const [awq, gptq] = [
  { method: 'awq', bits: 4, symmetric: false, zeroOffset: 0 },
  { method: 'gptq', symmetric: false, zeroOffset: 1 },
] as const;
const cases: readonly (readonly [PackedIntegers, string])[] = [
  [awq, 'q5_0'],
  [{ ...gptq, bits: 2 }, 'q4_0'],
  [{ ...gptq, bits: 4 }, 'q5_0'],
  [{ ...gptq, bits: 4, zeroOffset: 0 }, 'q5_0'],
  [{ ...gptq, bits: 2, symmetric: true }, 'q4_0'],
  [{ ...gptq, bits: 4, symmetric: true }, 'q4_0'],
  [{ ...gptq, bits: 8, symmetric: true }, 'q8_0'],
];
/** K, N, group. */
const shapes: readonly (readonly [number, number, number?])[] = [
  [32, 16, 32],
  [160, 272, 32],
  [256, 128, 64],
  [320, 400, 160],
  [96, 144],
];

for (const [settings, format] of cases) {
  const { method, bits, symmetric, zeroOffset } = settings;
  test(`${method}, ${bits} bits${symmetric ? ', symmetric' : ''}, zeros + ${zeroOffset}: as ${format}`, async () => {
    const next = seededRandom(7);
    for (const [K, N, group = K] of shapes) {
      const perWord = 32 / bits;
      const groups = K / group;
      const words = (count: number) => Uint32Array.from({ length: count }, () => next(2 ** 32));
      const q = words((K * N) / perWord);
      const middle = 2 ** (bits - 1) - zeroOffset;
      const even = Array.from({ length: perWord }, (_, i) => middle * 2 ** (bits * i)).reduce((a, b) => a + b);
      const z = symmetric ? new Uint32Array((groups * N) / perWord).fill(even) : words((groups * N) / perWord);
      const s = Uint16Array.from({ length: groups * N }, () => next(2 ** 16) & 0xbfff);
      const part = (name: string, format: string, shape: readonly number[], data: Uint32Array | Uint16Array) =>
        [`a.${name}`, { name, format, shape, bytes: memoryBytes(new Uint8Array(data.buffer)) }] as const;
      const parts = new Map<string, StoredTensor>([
        part('qweight', 'i32', method === 'awq' ? [K, N / perWord] : [K / perWord, N], q),
        part('qzeros', 'i32', [groups, N / perWord], z),
        part('scales', 'f16', [groups, N], s),
      ]);
      const joined = joinPackedIntegers(parts, { ...settings, group });
      const { bytes, ...made } = joined.get('a.weight') as StoredTensor;
      assert.deepEqual([made.format, made.shape], [format, [N, K]]);
      const values = new Float32Array(N * K);
      blockFormat(format).decode(await bytes.read(0, bytes.length), values);

      const scales = decodeElements('f16', new Uint8Array(s.buffer)) as Float32Array;
      const at = (words: Uint32Array, word: number, place: number) => (words[word] >>> (bits * place)) % 2 ** bits;
      /** Of output n in a row of words where the output is last. */
      const across = (words: Uint32Array, row: number, n: number) => {
        const place = method === 'awq' ? [0, 4, 1, 5, 2, 6, 3, 7][n % 8] : n % perWord;
        return at(words, (row * N) / perWord + Math.floor(n / perWord), place);
      };
      const expected = values.map((_, i) => {
        const [n, k] = [Math.floor(i / K), i % K];
        const level = method === 'awq' ? across(q, k, n) : at(q, Math.floor(k / perWord) * N + n, k % perWord);
        const g = Math.floor(k / group);
        return Math.fround((level - across(z, g, n) - zeroOffset) * scales[g * N + n]);
      });
      assert.deepEqual(values, expected, `[${K}, ${N}] in groups of ${group}`);
    }
  });
}
