/**
 * The `i8` dot numerics (numerics/dot.ts) with AMX, 16 tokens times the 16 rows of a panel: TDPBSSD sums a block exactly in
 * a tile, the tile goes to memory, and while the next block is multiplied AVX-512 does the float step of the one before,
 *
 *   acc = acc + f32(sum) * (scale * dx)        and for minima        acc = acc - f32(minSum) * (minScale * dx)
 *
 * The integer scales of K-quants are part of the decoded weights: sc * q = 128 * high + low, two planes of i8, so that a tile
 * sums all 256 k of a block: sum = 128 * (sum of high) + (sum of low).
 */
import type { Assembler } from '../asm/assembler.ts';
import { broadcast, indexed, type Mem, ptr, r8, rdi, rsp, type Vec, zmm } from '../asm/operands.ts';
import { blockOf, type IntegerFormat, type Levels, layoutOf, levelsOf } from './levels.ts';
import { constantOf, panelVectors, type Tile, type TokenGroup, type UnpackedProduct } from './product.ts';
import { emitQuads, quadConstants, quadsOf32 } from './quads.ts';
import { records, smallRecords } from './quantize-activations.ts';
import { emitD } from './scales.ts';
import { configureTiles, leftTile, releaseTiles, rightTile, sumTile } from './tile-registers.ts';
import { joinPairs } from './vnni-products.ts';

const vectors = panelVectors[512];
const large = records.tiles;
/** Constants: words of 255, bytes of 127 and words of one, then those of quads. */
const CONSTANTS = [[255, 0], [127], [1, 0]] as const;
const [LOW_BYTES, SEVEN_BITS, ONES] = [0, 1, 2].map((i) => constantOf(vectors, i)) as [Vec, Vec, Vec];

/** Registers of the float step: accumulators of the 16 tokens, then what all of them share, then temporaries in turn. */
const accOf = (token: number) => zmm(token);
const [SCALE, MINIMUM] = [zmm(16), zmm(17)];
const minimaOf = (i: number) => zmm(18 + i);
const temporaries = (token: number) => [zmm(22 + 2 * (token & 1)), zmm(23 + 2 * (token & 1))] as const;

const tokens = Array.from({ length: 16 }, (_, token) => token);

/** Bytes of the sums of a block, two of which are in memory at a time; a line of zeros follows them. */
interface Ring {
  readonly slotBytes: number;
}

/** Writes the multiplication of the block `ahead` of the registers, its sums to a slot; calls `between` a few times. */
type Multiply = (slot: 0 | 1, ahead: 0 | 1, between: (part: number, parts: number) => void) => void;
/** Writes the float step of some tokens with the sums of a slot. */
type Add = (slot: 0 | 1, tokens: readonly number[]) => void;

/** Block by block, the float step one behind. */
function emitBlocks(
  { a, count, decoded, x, sums, rowBytes }: TokenGroup,
  stepBytes: number,
  recordBytes: number,
  emitShared: () => void,
  multiply: Multiply,
  add: Add,
): void {
  const [odd, last, end] = [a.label(), a.label(), a.label()];
  const both = (slot: 0 | 1) => {
    emitShared();
    multiply(slot, 1, (part, parts) =>
      add(slot === 0 ? 1 : 0, tokens.slice((16 / parts) * part, (16 / parts) * (part + 1))),
    );
    a.emit('add', decoded, stepBytes);
    a.emit('add', x, recordBytes);
    a.emit('dec', count);
  };
  for (const token of tokens) a.emit('vmovaps', accOf(token), ptr(sums, 64 * token));
  a.emit('mov', rdi, rowBytes);
  a.emit('mov', r8, 64);
  multiply(0, 0, () => {});
  a.emit('dec', count);
  a.emit('jz', last);
  a.align(32);
  const next = a.here();
  both(1);
  a.emit('jz', odd);
  both(0);
  a.emit('jnz', next);
  a.bind(last);
  emitShared();
  add(0, tokens);
  a.emit('jmp', end);
  a.bind(odd);
  emitShared();
  add(1, tokens);
  a.bind(end);
  for (const token of tokens) a.emit('vmovaps', ptr(sums, 64 * token), accOf(token));
}

/** The zeros that sums begin with are loaded, which is faster than TILEZERO. */
const emitZeroLine = (a: Assembler, { slotBytes }: Ring) => {
  a.emit('vpxord', zmm(0), zmm(0), zmm(0));
  a.emit('vmovaps', ptr(rsp, 2 * slotBytes), zmm(0));
};

function common(ring: Ring, bytes: number) {
  return {
    vectors,
    panels: 1,
    secondPanel: 0,
    tokens: [16],
    least: 16,
    flushes: false,
    ownBytes: 2 * ring.slotBytes + 64,
    emitStart(a: Assembler) {
      configureTiles(a, bytes);
      emitZeroLine(a, ring);
    },
    emitEnd: releaseTiles,
  } as const;
}

/** Writes 32 k of values, i8, to rows of a tile at `to`. */
function emitValues(format: Levels, { a, weight }: Tile, use: (quad: number, value: Vec) => void): void {
  const VALUE = zmm(1);
  const registers = {
    planes: [zmm(7), zmm(8)],
    temporary: zmm(9),
    constants: quadConstants(format, 'value').map((_, i) => constantOf(vectors, CONSTANTS.length + i)),
    level: () => VALUE,
  };
  emitQuads(a, format, 'value', quadsOf32, weight, registers, (quad) => use(quad, VALUE));
}

/** Blocks of 32 or 16: a tile i8 [8 or 4][16][4], then scales f32[16], and minima f32[16]. */
function smallBlocks(format: Levels): UnpackedProduct {
  const ring: Ring = { slotBytes: 1024 };
  const hasMinima = format.minima !== undefined;
  const block = blockOf(format);
  const small = smallRecords(block);
  const scaleAt = 16 * block;
  const minimumAt = scaleAt + 64;
  const blockBytes = hasMinima ? minimumAt + 64 : minimumAt;
  const layout = layoutOf(format);
  return {
    ...common(ring, block),
    step: 32,
    stepBytes: (32 / block) * blockBytes,
    xStepBytes: (32 / block) * small.bytes,
    constants: [...CONSTANTS, ...quadConstants(format, 'value')],
    emitDecode(tileOf) {
      const tile = tileOf(0);
      const { a, weight, x } = tile;
      emitValues(format, tile, (quad, value) => {
        const part = Math.floor((4 * quad) / block);
        a.emit('vmovaps', x(0, blockBytes * part + 64 * (quad - (block / 4) * part)), value);
      });
      for (const [part, at] of layout.d.entries()) {
        emitD(a, format.d, zmm(0), weight(at), zmm(1));
        a.emit('vmovaps', x(0, blockBytes * part + scaleAt), zmm(0));
      }
      if (hasMinima) storeHalfs(tile, layout.minimum, minimumAt);
    },
    emitMultiply(group) {
      const { a, count, decoded, x, rowBytes } = group;
      if (block < 32) a.emit('imul', count, count, 32 / block);
      emitPipeline(group, blockBytes, small.bytes, {
        multiply(slot) {
          a.emit('tileloadd', sumTile(slot), ptr(rsp, 2 * ring.slotBytes));
          a.emit('tileloadd', leftTile(slot), indexed(x, rdi, 1));
          a.emit('tileloadd', rightTile(slot), indexed(decoded, r8, 1));
          a.emit('tdpbssd', sumTile(slot), leftTile(slot), rightTile(slot));
        },
        store: (slot) => a.emit('tilestored', indexed(rsp, r8, 1, ring.slotBytes * slot), sumTile(slot)),
        add(slot, behind) {
          a.emit('vmovaps', SCALE, ptr(decoded, scaleAt - blockBytes * behind));
          if (hasMinima) a.emit('vmovaps', MINIMUM, ptr(decoded, minimumAt - blockBytes * behind));
          for (const token of tokens) {
            const [sum, scale] = temporaries(token);
            const record = (at: number) => ptr(x, rowBytes * token + at - small.bytes * behind);
            a.emit('vcvtdq2ps', sum, ptr(rsp, ring.slotBytes * slot + 64 * token));
            a.emit('vmulps', scale, SCALE, broadcast(record(small.d)));
            a.emit('vmulps', sum, sum, scale);
            a.emit('vaddps', accOf(token), accOf(token), sum);
            if (!hasMinima) continue;
            // The sums of activations come as two of -8 times what they are.
            a.emit('vpbroadcastd', sum, record(small.sums));
            a.emit('vpmaddwd', sum, sum, ONES);
            a.emit('vpsrad', sum, sum, 3);
            a.emit('vcvtdq2ps', sum, sum);
            a.emit('vmulps', scale, MINIMUM, broadcast(record(small.d)));
            a.emit('vmulps', sum, sum, scale);
            a.emit('vaddps', accOf(token), accOf(token), sum);
          }
        },
      });
    },
  };
}

/** What a block goes through; `behind`: how many blocks before the one that the registers point to. */
interface Stages {
  multiply(slot: 0 | 1): void;
  store(slot: 0 | 1): void;
  add(slot: 0 | 1, behind: 1 | 2): void;
}

/** Block by block: while one is multiplied, the sums of the one before go to memory, and those of the one before that are added. */
function emitPipeline(
  { a, count, decoded, x, sums, rowBytes }: TokenGroup,
  stepBytes: number,
  recordBytes: number,
  { multiply, store, add }: Stages,
): void {
  const [single, odd, even, end] = [a.label(), a.label(), a.label(), a.label()];
  const advance = () => {
    a.emit('add', decoded, stepBytes);
    a.emit('add', x, recordBytes);
    a.emit('dec', count);
  };
  const turn = (slot: 0 | 1) => {
    multiply(slot);
    store(slot === 0 ? 1 : 0);
    add(slot, 2);
    advance();
  };
  for (const token of tokens) a.emit('vmovaps', accOf(token), ptr(sums, 64 * token));
  a.emit('mov', rdi, rowBytes);
  a.emit('mov', r8, 64);
  multiply(0);
  advance();
  a.emit('jz', single);
  multiply(1);
  store(0);
  advance();
  a.emit('jz', even);
  a.align(32);
  const next = a.here();
  turn(0);
  a.emit('jz', odd);
  turn(1);
  a.emit('jnz', next);
  a.bind(even);
  store(1);
  add(0, 2);
  add(1, 1);
  a.emit('jmp', end);
  a.bind(odd);
  store(0);
  add(1, 2);
  add(0, 1);
  a.emit('jmp', end);
  a.bind(single);
  store(0);
  add(0, 1);
  a.bind(end);
  for (const token of tokens) a.emit('vmovaps', ptr(sums, 64 * token), accOf(token));
}

/**
 * Blocks of 256: two planes i8 [64][16][4], high and low; scales f32[16]; minima i16 [4 or 8][16][2], their scales f32[16].
 * sc * value must have 13 bits and a sign.
 */
const plane = 4096;
const block256 = { scale: 2 * plane, minimum: 2 * plane + 64, minima: 2 * plane + 128, bytes: 2 * plane + 640 };

function blocksOf256(format: Levels): UnpackedProduct {
  const { minima: hasMinima, sub, scales } = format;
  const layout = layoutOf(format);
  const pairs = 128 / sub;
  const sums = sub === 16 ? large.sums16 : large.sums32;
  const extend = scales === 's8' ? 'vpmovsxbd' : 'vpmovzxbd';
  const ring: Ring = { slotBytes: 2048 };
  const { bytes, scale, minima, minimum } = block256;
  return {
    ...common(ring, 64),
    step: 256,
    stepBytes: bytes,
    xStepBytes: large.bytes,
    constants: [...CONSTANTS, ...quadConstants(format, 'value')],
    emitDecode(tileOf) {
      const tile = tileOf(0);
      const { a, weight, x } = tile;
      const factor = zmm(0);
      const lagging = scales === undefined ? 1 : (16 * 32) / sub;
      if (scales === undefined) a.emit('vmovaps', factor, ONES);
      tile.repeat(8, { weight: layout.step, x: 512, lagging }, () => {
        emitValues(format, tile, (quad, value) => {
          if (scales !== undefined && (4 * quad) % Math.min(sub, 32) === 0) {
            loadScales(tile, factor, extend, tile.lagging(layout.scales + 4 * quad));
          }
          storePlanes(tile, value, factor, 64 * quad);
        });
      });
      emitD(a, format.d, zmm(0), weight(layout.d[0] ?? 0), zmm(1));
      a.emit('vmovaps', x(0, scale), zmm(0));
      if (hasMinima === undefined) return;
      storeHalfs(tile, layout.minimum, minimum);
      for (let i = 0; i < pairs; i++) {
        const at = layout.minima + 32 * i;
        joinPairs(tile, zmm(0), 'vpmovzxbd', weight(at), weight(at + 16));
        a.emit('vmovaps', x(0, minima + 64 * i), zmm(0));
      }
    },
    emitMultiply(group) {
      const { a, decoded, x, rowBytes } = group;
      const multiply: Multiply = (slot, ahead, between) => {
        const [high, low] = [sumTile(2 * slot), sumTile(2 * slot + 1)];
        for (const tile of [high, low]) a.emit('tileloadd', tile, ptr(rsp, 2 * ring.slotBytes));
        for (let part = 0; part < 4; part++) {
          const left = leftTile(part & 1);
          const at = bytes * ahead + 1024 * part;
          a.emit('tileloadd', left, indexed(x, rdi, 1, large.bytes * ahead + 64 * part));
          a.emit('tileloadd', rightTile(0), indexed(decoded, r8, 1, at));
          a.emit('tdpbssd', high, left, rightTile(0));
          a.emit('tileloadd', rightTile(1), indexed(decoded, r8, 1, plane + at));
          a.emit('tdpbssd', low, left, rightTile(1));
          between(part, 4);
        }
        a.emit('tilestored', indexed(rsp, r8, 1, ring.slotBytes * slot), high);
        a.emit('tilestored', indexed(rsp, r8, 1, ring.slotBytes * slot + 1024), low);
      };
      const emitShared = () => {
        a.emit('vmovaps', SCALE, ptr(decoded, scale));
        if (hasMinima === undefined) return;
        a.emit('vmovaps', MINIMUM, ptr(decoded, minimum));
        for (let i = 0; i < Math.min(4, pairs); i++) a.emit('vmovaps', minimaOf(i), ptr(decoded, minima + 64 * i));
      };
      const add: Add = (slot, some) => {
        for (const token of some) {
          const acc = accOf(token);
          const [sum, factor] = temporaries(token);
          const at = ring.slotBytes * slot + 64 * token;
          const dx = broadcast(ptr(x, rowBytes * token + large.d));
          a.emit('vpslld', sum, ptr(rsp, at), 7);
          a.emit('vpaddd', sum, sum, ptr(rsp, at + 1024));
          a.emit('vcvtdq2ps', sum, sum);
          a.emit('vmulps', factor, SCALE, dx);
          a.emit('vmulps', sum, sum, factor);
          a.emit('vaddps', acc, acc, sum);
          if (hasMinima === undefined) continue;
          a.emit('vpxord', sum, sum, sum);
          for (let i = 0; i < pairs; i++) {
            if (i >= 4) a.emit('vmovaps', factor, ptr(decoded, minima + 64 * i));
            a.emit('vpdpwssd', sum, i < 4 ? minimaOf(i) : factor, broadcast(ptr(x, rowBytes * token + sums + 4 * i)));
          }
          a.emit('vcvtdq2ps', sum, sum);
          a.emit('vmulps', factor, MINIMUM, dx);
          a.emit('vmulps', sum, sum, factor);
          a.emit('vsubps', acc, acc, sum);
        }
      };
      emitBlocks(group, bytes, large.bytes, emitShared, multiply, add);
    },
  };
}

/** For VPTERNLOG: the second operand where the third has ones, else the first. */
const SELECT = 0xd8;

/**
 * The planes of 4 k: `level` holds i8, `scales` an i16 twice in each lane. The products fit 13 bits and a sign.
 */
function storePlanes(tile: Tile, level: Vec, scales: Vec, at: number): void {
  const { a } = tile;
  const [even, odd, low] = [zmm(4), zmm(5), zmm(6)];
  a.emit('vpsllw', even, level, 8);
  a.emit('vpsraw', even, even, 8);
  a.emit('vpsraw', odd, level, 8);
  a.emit('vpmullw', even, even, scales);
  a.emit('vpmullw', odd, odd, scales);
  a.emit('vpsllw', low, odd, 8);
  a.emit('vpternlogd', low, even, LOW_BYTES, SELECT);
  a.emit('vpandd', low, low, SEVEN_BITS);
  a.emit('vmovaps', tile.x(0, plane + at), low);
  a.emit('vpsraw', even, even, 7);
  a.emit('vpsllw', odd, odd, 1);
  a.emit('vpternlogd', odd, even, LOW_BYTES, SELECT);
  a.emit('vmovaps', tile.x(0, at), odd);
}

/** register = i16 of 16 bytes at `from`, twice in each lane. */
function loadScales({ a }: Tile, register: Vec, extend: 'vpmovzxbd' | 'vpmovsxbd', from: Mem): void {
  const high = zmm(4);
  a.emit(extend, register, from);
  a.emit('vpslld', high, register, 16);
  a.emit('vpsrld', register, high, 16);
  a.emit('vpord', register, register, high);
}

function storeHalfs({ a, weight, x }: Tile, d: number, at: number): void {
  a.emit('vcvtph2ps', zmm(0), weight(d));
  a.emit('vmovaps', x(0, at), zmm(0));
}

export function tileIntegerProduct(name: IntegerFormat): UnpackedProduct {
  const format = levelsOf(name);
  return format.size === 32 ? smallBlocks(format) : blocksOf256(format);
}
