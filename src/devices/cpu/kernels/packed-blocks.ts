/**
 * The `i8` dot numerics with AVX2 for up to four tokens and weights as they lie: a quad of codes is taken out of its plane once for all of
 * them, in instructions that the ports of the multiplications are not needed for. For formats whose blocks are 32 values without
 * minima: of codes with one chain of words each, or of values that are bytes as they lie.
 *
 * For 16 rows and 32 k of nibbles that is 32 instructions for the codes and 54 for each token, where unpacked-integers.ts has 16 and 54 after
 * it has decoded them, once for all tokens of a unit.
 */
import { type Vec, ymm } from '../asm/operands.ts';
import { levelOf, multiplyQuads, productOf, type Quads, scaled, wordsOf, X } from './integer-blocks.ts';
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
  const chains = chainsOf(format);
  const isSigned = wordSumsOf(format).kind === 'signed';
  const as = isSigned ? 'value' : 'code';
  const patterns = quadConstants(format, as);
  if (blockOf(format) !== 32 || format.minima !== undefined) return undefined;
  // Magnitudes take the registers of other constants.
  if (isSigned ? patterns.length > 1 : chains.length > 1) return undefined;
  const layout = layoutOf(format);
  const { offset } = codingOf(format);
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
        emitQuads(a, format, as, [quad], (at) => weight(at + 32 * half), {
          ...registers,
          level: () => levelOf(half),
        });
      const quads = { a, tokens, x, loadLevel };
      const start = offset > 0 ? ({ at: record.sums, size: 32, offset } as const) : undefined;
      if (isSigned) multiplySigned(quads, chains.flat(), ones);
      else multiplyQuads(quads, chains.flat(), start, 0);
      for (const half of halves) {
        emitD(a, format.d, levelOf(half), weight((layout.d[0] ?? 0) + 8 * half * dBytes[format.d]), X);
      }
      for (let token = 0; token < tokens; token++) {
        a.emit('vbroadcastss', X, x(token, record.d));
        for (const half of halves) {
          const [words, value] = [wordsOf(token, half), productOf(half)];
          if (!isSigned) a.emit('vpmaddwd', words, words, ones);
          scaled(a, words, levelOf(half), X, value);
          a.emit('vaddps', value, value, sum(token, half));
          a.emit('vmovaps', sum(token, half), value);
        }
      }
    },
  };
}

/** wordsOf = sums i32 of values times activations, of some quads and each token. */
function multiplySigned({ a, tokens, x, loadLevel }: Quads, quads: readonly number[], ones: Vec): void {
  const [magnitudes, product] = [[ymm(12), ymm(13)], ymm(11)];
  for (const quad of quads) {
    for (const half of halves) {
      loadLevel(quad, half);
      a.emit('vpabsb', magnitudes[half] as Vec, levelOf(half));
    }
    for (let token = 0; token < tokens; token++) {
      a.emit('vpbroadcastd', X, x(token, 4 * quad));
      for (const half of halves) {
        const begins = quad === quads[0];
        a.emit('vpsignb', product, X, levelOf(half));
        a.emit('vpmaddubsw', product, magnitudes[half] as Vec, product);
        a.emit('vpmaddwd', begins ? wordsOf(token, half) : product, product, ones);
        if (!begins) a.emit('vpaddd', wordsOf(token, half), wordsOf(token, half), product);
      }
    }
  }
}
