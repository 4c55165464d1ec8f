/**
 * Elements between memory and lanes. A lane holds 32 bits of a type of up to 32 bits (integers extended, small floats as
 * bit patterns, i1 as a mask of all ones) or 64 of a wider one.
 */

import type { ScalarElement, ScalarType } from '../../../compiler/kernel/language.ts';
import { elementBytes, elementTypes } from '../../../numerics/element-types.ts';
import type { LaneBits, LaneCode } from './lane-code.ts';
import { LaneIntegers } from './lane-integers.ts';
import { type Address, d, q, type Register, sizedAt, view } from './machine.ts';
import { integerType, ScalarIntegers } from './scalar-integers.ts';
import { packWords } from './small-floats.ts';

export function laneBitsOf(type: ScalarType): LaneBits {
  if (type === 'index') return 64;
  return elementBytes(type) === 8 ? 64 : 32;
}

export const isFloat = (type: ScalarType): boolean => integerType(type) === undefined;

/** One element: floats in the first lane, integers in a general register. */
export function loadScalar(code: LaneCode, element: ScalarElement, from: Address): Register {
  const m = code.machine;
  const integer = integerType(element);
  const bytes = elementBytes(element);
  if (integer === undefined && bytes >= 4) {
    const result = m.register('vec');
    m.emit(bytes === 4 ? 'vmovss' : 'vmovsd', view(result, 128), from);
    return result;
  }
  const result = m.register('gp');
  const signed = integer?.signed ?? false;
  if (bytes === 8) m.emit('mov', q(result), from);
  else if (bytes === 4) m.emit(signed ? 'movsxd' : 'mov', signed ? q(result) : d(result), sizedAt(from, 32));
  else m.emit(signed ? 'movsx' : 'movzx', signed ? q(result) : d(result), sizedAt(from, bytes * 8));
  if (integer === undefined) return code.fromGeneral(32, result);
  const integers = new ScalarIntegers(m);
  if (integer.bits === 1) return integers.compare('NE', result, integers.constant(0), integer);
  return integer.bits === 4 ? integers.wrap(result, integer) : result;
}

export function storeScalar(code: LaneCode, element: ScalarElement, value: Register, to: Address): void {
  const m = code.machine;
  const bytes = elementBytes(element);
  if (isFloat(element) && bytes >= 4) {
    m.emit(bytes === 4 ? 'vmovss' : 'vmovsd', to, view(value, 128));
    return;
  }
  let bits = isFloat(element) ? code.toGeneral(32, value) : value;
  if (integerType(element)?.bits === 4) bits = new ScalarIntegers(m).wrap(bits, { bits: 4, signed: false });
  m.emit('mov', to, view(bits, (bytes * 8) as 8 | 16 | 32 | 64));
}

/** Neighbours, one a lane. */
export function loadLanes(code: LaneCode, element: ScalarElement, from: Address): Register {
  const lane = laneBitsOf(element);
  switch (elementBytes(element)) {
    case 8:
    case 4:
      return code.load(lane, from);
    case 2:
      return code.op(element === 'i16' ? 'vpmovsxwd' : 'vpmovzxwd', 32, from);
    default: {
      const signed = integerType(element)?.signed ?? false;
      return valuesOfBytes(code, element, code.op(signed ? 'vpmovsxbd' : 'vpmovzxbd', 32, from));
    }
  }
}

/** Lanes `stride` elements apart; nothing between them is touched. */
export function gatherLanes(code: LaneCode, element: ScalarElement, from: Address, stride: number): Register {
  const m = code.machine;
  const lane = laneBitsOf(element);
  const bytes = elementBytes(element);
  const step = stride * bytes;
  if (bytes >= 4) {
    const offsets = code.op(
      'vmovdqu',
      32,
      code.list(Array.from({ length: Math.max(4, code.lanes) }, (_, i) => i * step)),
    );
    const mask = code.load(lane, code.words(lane, -1));
    const result = code.zero();
    const base = pointer(code, from);
    const indexBits = lane === 64 ? 128 : code.bits(32);
    m.emit(
      lane === 32 ? 'vgatherdps' : 'vgatherdpd',
      code.view(result, lane),
      { ...base, index: offsets, indexBits, scale: 1 },
      code.view(mask, lane),
    );
    return result;
  }
  let words = code.zero();
  for (let i = 0; i < code.lanes; i++) {
    const next = m.register('vec');
    const one = { ...from, disp: from.disp + i * step };
    m.emit(bytes === 2 ? 'vpinsrw' : 'vpinsrb', view(next, 128), view(words, 128), one, i);
    words = next;
  }
  const signed = integerType(element)?.signed ?? false;
  const result = m.register('vec');
  const spread = bytes === 2 ? (signed ? 'vpmovsxwd' : 'vpmovzxwd') : signed ? 'vpmovsxbd' : 'vpmovzxbd';
  m.emit(spread, code.view(result, 32), view(words, 128));
  return bytes === 2 ? result : valuesOfBytes(code, element, result);
}

/** An address without an index register. */
function pointer(code: LaneCode, address: Address): Address {
  if (address.index === undefined) return address;
  const base = code.machine.register('gp');
  code.machine.emit('lea', q(base), address);
  return { kind: 'address', base, scale: 1, disp: 0, bits: 0 };
}

/** i1 as a mask, and 4-bit integers without the high half of their byte. */
function valuesOfBytes(code: LaneCode, element: ScalarElement, x: Register): Register {
  const integer = integerType(element);
  if (integer?.bits === 1) return code.op('vpcmpgtd', 32, x, code.words(32, 0));
  return integer?.bits === 4 ? new LaneIntegers(code).wrap(x, integer) : x;
}

/** The bits of a lane that are stored of a type of one or two bytes. */
const storedBits = (element: ScalarElement) => 2 ** elementTypes[element].bits - 1;

/** 32-bit lanes of a type of one or two bytes as packed elements at the low end. */
function packed(code: LaneCode, element: ScalarElement, value: Register): Register {
  const bytes = elementBytes(element);
  const low = code.op('vpand', 32, value, code.words(32, storedBits(element)));
  const words = packWords(code, low);
  if (bytes === 2) return words;
  const result = code.machine.register('vec');
  code.machine.emit('vpackuswb', view(result, 128), view(words, 128), view(words, 128));
  return result;
}

/** Neighbours, one a lane; with `mask` only where it is set (elements of 4 and 8 bytes). */
export function storeLanes(
  code: LaneCode,
  element: ScalarElement,
  value: Register,
  to: Address,
  mask?: Register,
): void {
  const m = code.machine;
  const bytes = elementBytes(element);
  const lane = laneBitsOf(element);
  if (bytes >= 4) {
    if (mask === undefined) m.emit('vmovups', to, code.view(value, lane));
    else m.emit(lane === 32 ? 'vmaskmovps' : 'vmaskmovpd', to, code.view(mask, lane), code.view(value, lane));
    return;
  }
  const data = packed(code, element, value);
  switch (bytes * code.lanes) {
    case 16:
      m.emit('vmovdqu', to, view(data, 128));
      return;
    case 8:
      m.emit('vmovq', to, view(data, 128));
      return;
    default:
      m.emit('vmovd', to, view(data, 128));
  }
}

/** Lanes `stride` elements apart. */
export function scatterLanes(
  code: LaneCode,
  element: ScalarElement,
  value: Register,
  to: Address,
  stride: number,
): void {
  const m = code.machine;
  const bytes = elementBytes(element);
  const lane = laneBitsOf(element);
  const data = bytes === 1 ? code.op('vpand', 32, value, code.words(32, storedBits(element))) : value;
  const perHalf = 128 / lane;
  let half = data;
  for (let i = 0; i < code.lanes; i++) {
    if (i === perHalf) {
      half = m.register('vec');
      m.emit('vextracti128', view(half, 128), view(data, 256), 1);
    }
    const one = { ...to, disp: to.disp + i * stride * bytes };
    const position = i % perHalf;
    if (bytes === 8) m.emit('vpextrq', sizedAt(one, 64), view(half, 128), position);
    else if (bytes === 4) m.emit('vpextrd', sizedAt(one, 32), view(half, 128), position);
    else if (bytes === 2) m.emit('vpextrw', sizedAt(one, 16), view(half, 128), 2 * position);
    else m.emit('vpextrb', sizedAt(one, 8), view(half, 128), 4 * position);
  }
}
