/**
 * The `i8` dot numerics with AVX2 for up to four tokens and weights as they lie: a quad of codes is taken out of its plane once for all of
 * them, in instructions that the ports of the multiplications are not needed for. For formats whose blocks are 32 values without
 * minima, one chain of words each.
 *
 * For 16 rows and 32 k that is 32 instructions for the codes and 54 for each token, where unpacked-integers.ts has 16 and 54 after
 * it has decoded them, once for all tokens of a unit.
 */
import { levelOf, multiplyQuads, productOf, scaled, wordsOf, X } from './integer-blocks.ts';
import { WORDS_OF_ONE } from './integer-products.ts';
import { blockOf, codingOf, dBytes, type IntegerFormat, layoutOf, levelsOf, wordSumsOf } from './levels.ts';
import { constantOf, halves, type Product, panelVectors } from './product.ts';
import { chainsOf, emitQuads, quadConstants } from './quads.ts';
import { smallRecords } from './quantize-activations.ts';
import { emitD } from './scales.ts';

const vectors = panelVectors[256];
const record = smallRecords(32);

export function packedBlockProduct(name: IntegerFormat): Product | undefined {
  const format = levelsOf(name);
  const [chain, ...others] = chainsOf(format);
  if (blockOf(format) !== 32 || format.minima !== undefined || wordSumsOf(format).kind === 'signed') return undefined;
  if (chain === undefined || others.length > 0) return undefined;
  const layout = layoutOf(format);
  const { offset } = codingOf(format);
  const patterns = quadConstants(format, 'code');
  const ones = constantOf(vectors, patterns.length);
  const registers = {
    planes: halves.map(productOf),
    temporary: X,
    constants: patterns.map((_, i) => constantOf(vectors, i)),
  };
  return {
    vectors,
    tokens: [4, 3, 2, 1],
    unroll: 1,
    inRegisters: false,
    constants: [...patterns, WORDS_OF_ONE],
    emit({ a, tokens, weight, x, sum }) {
      const loadLevel = (quad: number, half: number) =>
        emitQuads(a, format, 'code', [quad], (at) => weight(at + 32 * half), {
          ...registers,
          level: () => levelOf(half),
        });
      const start = offset > 0 ? ({ at: record.sums, size: 32, offset } as const) : undefined;
      multiplyQuads({ a, tokens, x, loadLevel }, chain, start, 0);
      for (const half of halves) {
        emitD(a, format.d, levelOf(half), weight((layout.d[0] ?? 0) + 8 * half * dBytes[format.d]), X);
      }
      for (let token = 0; token < tokens; token++) {
        a.emit('vbroadcastss', X, x(token, record.d));
        for (const half of halves) {
          const [words, value] = [wordsOf(token, half), productOf(half)];
          a.emit('vpmaddwd', words, words, ones);
          scaled(a, words, levelOf(half), X, value);
          a.emit('vaddps', value, value, sum(token, half));
          a.emit('vmovaps', sum(token, half), value);
        }
      }
    },
  };
}
