/**
 * The `i8` dot numerics (numerics/dot.ts) with AVX-512, lanes = the 16 rows of a panel: exact integer sums over a block,
 * then
 *
 *   acc = acc + f32(sum) * (scale * dx)        and for minima        acc = acc - f32(minSum) * (minScale * dx)
 *
 * each operation rounded. VPDPBUSD adds four products of u8 and s8 to an i32, so levels are multiplied as their codes
 * (levels.ts), and sums are freed of what the offset adds too much. Without VNNI three instructions do the same as one, where
 * two products fit an i16: codes up to 129; else |value| times the activation with its sign.
 */
import { broadcast, k, type Mem, masked, type Vec, zmm } from '../asm/operands.ts';
import { blockOf, codingOf, type IntegerFormat, largestCode, layoutOf, levelsOf } from './levels.ts';
import { constantOf, type Product, panelVectors, type Tile } from './product.ts';
import { emitQuads, pairedQuads, quadConstants, quadsOf32 } from './quads.ts';
import { records, smallRecords } from './quantize-activations.ts';
import { emitD } from './scales.ts';

const vectors = panelVectors[512];
const large = records.tiles;

/** Of 8 tokens: accumulators 0 to 7, sums 8 to 15. */
const accOf = (token: number) => zmm(token);
const sumOf = (token: number) => zmm(8 + token);
/** Levels of 32 k, or what a block has for all tokens, or sums of a sub-block of each token. */
const levelOf = (quad: number) => zmm(16 + quad);
const [V, S, T, U] = [zmm(24), zmm(25), zmm(26), zmm(27)];
/** In turn, so that tokens do not wait for one another. */
const wordsOf = (token: number) => ((token & 1) === 0 ? U : V);
const negative = k(1);

const tokensOf = ({ tokens }: Tile) => Array.from({ length: tokens }, (_, token) => token);

/** acc = acc + f32(sum) * (scale * dx), or minus. Ends the sum; uses T. */
function addScaled({ a, place }: Tile, token: number, scale: Vec, dx: Mem, op: 'vaddps' | 'vsubps'): void {
  const [acc, sum] = [accOf(place(token)), sumOf(token)];
  a.emit('vmulps', T, scale, broadcast(dx));
  a.emit('vcvtdq2ps', sum, sum);
  a.emit('vmulps', sum, sum, T);
  a.emit(op, acc, acc, sum);
}

const clear = ({ a }: Tile, register: Vec) => a.emit('vpxord', register, register, register);

/** register = pairs of i16, of one number a row and the next one's. */
export function joinPairs({ a }: Tile, register: Vec, extend: 'vpmovzxbd' | 'vpmovsxbd', one: Mem, two: Mem): void {
  a.emit(extend, register, one);
  a.emit(extend, V, two);
  a.emit('vpslld', V, V, 16);
  if (extend === 'vpmovsxbd') {
    a.emit('vpslld', register, register, 16);
    a.emit('vpsrld', register, register, 16);
  }
  a.emit('vpord', register, register, V);
}

export function wideIntegerProduct(name: IntegerFormat, hasVnni: boolean): Product {
  const format = levelsOf(name);
  const { size, sub, d, scales, minima } = format;
  const layout = layoutOf(format);
  const block = blockOf(format);
  const small = smallRecords(block);
  /** Where the activations of a block of a tile of 32 are. */
  const recordAt = (part: number) => (block === 16 ? small.bytes * part : 0);
  const quadAt = (quad: number) => (block === 16 ? recordAt(quad >> 2) + 4 * (quad & 3) : 4 * quad);
  const { shift, offset } = codingOf(format);
  const isSigned = !hasVnni && largestCode(format) > 129;
  const as = isSigned ? 'value' : 'code';
  const patterns = quadConstants(format, as);
  const [ones, zero] = [constantOf(vectors, patterns.length), constantOf(vectors, patterns.length + 1)];
  // Sums of activations of 32 come as two of -8 times what they are.
  const startFactor = hasVnni && size === 32 && offset > 0 ? offset / 8 : 1;
  const registers = {
    planes: [V, S],
    temporary: T,
    constants: patterns.map((_, i) => constantOf(vectors, i)),
    level: (quad: number) => (isSigned ? U : levelOf(quad)),
  };
  const inAnyOrder = format.planes[0] === 4 ? pairedQuads : quadsOf32;
  const subs = sub === 16 ? [quadsOf32.slice(0, 4), quadsOf32.slice(4)] : [inAnyOrder];
  const extend = scales === 's8' ? 'vpmovsxbd' : 'vpmovzxbd';

  return {
    vectors,
    tokens: [8, 4, 2, 1],
    unroll: 1,
    inRegisters: true,
    constants: [...patterns, [startFactor, 0], ...(isSigned ? [[0]] : [])],
    emit(tile) {
      if (size === 32) {
        for (const part of layout.d.keys()) {
          for (const token of tokensOf(tile)) {
            if (offset > 0 && !isSigned) start(tile, token, part);
            else clear(tile, sumOf(token));
          }
          multiply(tile, subs[block === 16 ? part : 0] ?? [], sumOf);
          finish(tile, part);
        }
        return;
      }
      for (const token of tokensOf(tile)) clear(tile, sumOf(token));
      const lagging = scales === undefined ? 1 : (16 * 32) / sub;
      tile.repeat(8, { weight: layout.step, x: large.step, lagging }, () => {
        for (const [index, quads] of subs.entries()) addSub(tile, quads, tile.lagging(layout.scales + 16 * index));
      });
      if (offset > 0 && !isSigned) subtractOffset(tile);
      finish(tile, 0);
    },
  };

  /** Adds the sums of a block to the accumulators. */
  function finish(tile: Tile, part: number): void {
    const { a, weight, x } = tile;
    const dx = (token: number) => x(token, size === 32 ? recordAt(part) + small.d : large.d);
    emitD(a, d, S, weight(layout.d[part] as number), T);
    for (const token of tokensOf(tile)) {
      if (shift > 0 && !isSigned) a.emit('vpsrad', sumOf(token), sumOf(token), shift);
      addScaled(tile, token, S, dx(token), 'vaddps');
    }
    switch (minima) {
      case undefined:
        return;
      case 'tile':
        a.emit('vcvtph2ps', S, weight(layout.minimum));
        for (const token of tokensOf(tile)) {
          start(tile, token, 0);
          a.emit('vpsrad', sumOf(token), sumOf(token), 3);
          addScaled(tile, token, S, dx(token), 'vaddps');
        }
        return;
      case 'sub':
        loadPairs(tile, layout.minima, 'vpmovzxbd');
        a.emit('vcvtph2ps', S, weight(layout.minimum));
        for (const token of tokensOf(tile)) {
          clear(tile, sumOf(token));
          addPairs(tile, sumOf(token), token);
          addScaled(tile, token, S, dx(token), 'vsubps');
        }
        return;
      default:
        minima satisfies never;
    }
  }

  /** sum = what the sums of a block's activations are, times the factor of codes. */
  function start({ a, x }: Tile, token: number, part: number): void {
    const sum = sumOf(token);
    a.emit('vpbroadcastd', sum, x(token, recordAt(part) + small.sums));
    a.emit('vpmaddwd', sum, sum, ones);
    if (offset / 8 > startFactor) a.emit('vpslld', sum, sum, Math.log2(offset / 8 / startFactor));
  }

  /** sums += some quads of 32 k times activations. */
  function multiply(tile: Tile, quads: readonly number[], sums: (token: number) => Vec): void {
    if (isSigned) multiplySigned(tile, quads, sums);
    else {
      emitQuads(tile.a, format, as, quads, tile.weight, registers);
      for (const token of tokensOf(tile)) multiplyCodes(tile, token, quads, sums(token));
    }
  }

  /** The codes of the quads are in their registers. */
  function multiplyCodes(tile: Tile, token: number, quads: readonly number[], sum: Vec): void {
    const { a, x } = tile;
    for (const quad of quads) {
      if (hasVnni) {
        a.emit('vpdpbusd', sum, levelOf(quad), broadcast(x(token, quadAt(quad))));
      } else {
        a.emit('vpbroadcastd', T, x(token, quadAt(quad)));
        addQuad(tile, sum, levelOf(quad));
      }
    }
  }

  function multiplySigned(tile: Tile, quads: readonly number[], sums: (token: number) => Vec): void {
    const { a, weight, x } = tile;
    emitQuads(a, format, as, quads, weight, registers, (quad) => {
      a.emit('vpmovb2m', negative, U);
      a.emit('vpabsb', U, U);
      for (const token of tokensOf(tile)) {
        a.emit('vpbroadcastd', T, x(token, quadAt(quad)));
        a.emit('vpsubb', masked(T, negative), zero, T);
        addQuad(tile, sums(token), U);
      }
    });
  }

  /** sum += bytes * the activations in T. */
  function addQuad({ a }: Tile, sum: Vec, bytes: Vec): void {
    a.emit('vpmaddubsw', T, bytes, T);
    a.emit('vpmaddwd', T, T, ones);
    a.emit('vpaddd', sum, sum, T);
  }

  /** sums += sc * the products of a sub-block. */
  function addSub(tile: Tile, quads: readonly number[], scale: Mem): void {
    if (scales === undefined) {
      multiply(tile, quads, sumOf);
      return;
    }
    const { a } = tile;
    const add = (token: number, words: Vec) => {
      a.emit('vpmulld', words, words, S);
      a.emit('vpaddd', sumOf(token), sumOf(token), words);
    };
    if (isSigned) {
      for (const token of tokensOf(tile)) clear(tile, levelOf(token));
      multiplySigned(tile, quads, levelOf);
      a.emit(extend, S, scale);
      for (const token of tokensOf(tile)) add(token, levelOf(token));
      return;
    }
    emitQuads(a, format, as, quads, tile.weight, registers);
    a.emit(extend, S, scale);
    for (const token of tokensOf(tile)) {
      const words = wordsOf(token);
      clear(tile, words);
      multiplyCodes(tile, token, quads, words);
      add(token, words);
    }
  }

  /** Numbers of two sub-blocks at a time to `levelOf` 0 and on. */
  function loadPairs(tile: Tile, at: number, extend: 'vpmovzxbd' | 'vpmovsxbd'): void {
    for (let i = 0; i < 128 / sub; i++) {
      joinPairs(tile, levelOf(i), extend, tile.weight(at + 32 * i), tile.weight(at + 32 * i + 16));
    }
  }

  /** sum += numbers of sub-blocks, or 1, times the sums of their activations. */
  function addPairs({ a, x }: Tile, sum: Vec, token: number): void {
    for (let i = 0; i < (sub === 16 ? 8 : 4); i++) {
      const factor = sub === 256 ? ones : levelOf(i);
      const pair = x(token, (sub === 16 ? large.sums16 : large.sums32) + 4 * i);
      if (hasVnni) {
        a.emit('vpdpwssd', sum, factor, broadcast(pair));
      } else {
        a.emit('vpbroadcastd', T, pair);
        a.emit('vpmaddwd', T, T, factor);
        a.emit('vpaddd', sum, sum, T);
      }
    }
  }

  /** The sum of sc * code * x, less offset times that of sc * x. */
  function subtractOffset(tile: Tile): void {
    const { a } = tile;
    if (scales !== undefined) loadPairs(tile, layout.scales, extend);
    for (const token of tokensOf(tile)) {
      const words = wordsOf(token);
      clear(tile, words);
      addPairs(tile, words, token);
      a.emit('vpslld', words, words, Math.log2(offset));
      a.emit('vpsubd', sumOf(token), sumOf(token), words);
    }
  }
}
