/**
 * Elements between memory and lanes. A lane holds 32 bits of a type of up to 32 bits (integers extended, small floats as
 * bit patterns) or 64 of a wider one; i1 is a mask of 32-bit lanes.
 */

import type { ScalarElement, ScalarType } from '../../../compiler/kernel/language.ts';
import { elementBytes, elementTypes } from '../../../numerics/element-types.ts';
import type { Mnemonic } from '../asm/tables.ts';
import type { LaneBits, LaneCode, StoredElement } from './lane-code.ts';
import { LaneIntegers } from './lane-integers.ts';
import { type Address, d, q, type Register, sizedAt, view } from './machine.ts';
import { integerType, ScalarIntegers } from './scalar-integers.ts';
import { laneCode } from './vector-sets.ts';

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

/** What puts neighbours into lanes, one a lane. */
function loadingOf(element: ScalarElement): Mnemonic {
  const signed = integerType(element)?.signed ?? false;
  switch (elementBytes(element)) {
    case 8:
    case 4:
      return 'vmovups';
    case 2:
      return signed ? 'vpmovsxwd' : 'vpmovzxwd';
    default:
      return signed ? 'vpmovsxbd' : 'vpmovzxbd';
  }
}

/** Neighbours, one a lane. */
export function loadLanes(code: LaneCode, element: ScalarElement, from: Address): Register {
  return valuesOfBytes(code, element, code.fromMemory(loadingOf(element), laneBitsOf(element), from));
}

/** Lanes `stride` elements apart; nothing between them is touched. Undefined where there is no code for it. */
export function gatherLanes(
  code: LaneCode,
  element: ScalarElement,
  from: Address,
  stride: number,
): Register | undefined {
  const m = code.machine;
  const bytes = elementBytes(element);
  const step = stride * bytes;
  if (stride === -1 && code.active === undefined) {
    const lane = laneBitsOf(element);
    const neighbours = { ...from, disp: from.disp - (code.lanes - 1) * bytes };
    return valuesOfBytes(code, element, code.reversed(lane, code.fromMemory(loadingOf(element), lane, neighbours)));
  }
  if (bytes >= 4) return code.gather(laneBitsOf(element), pointer(code, from), code.offsets(step), 1);
  if (code.active !== undefined) return undefined;
  const insert = bytes === 2 ? 'vpinsrw' : 'vpinsrb';
  const part = (first: number, wide: LaneCode): Register => {
    let elements = code.zero();
    for (let i = 0; i < wide.lanes; i++) {
      const next = m.register('vec');
      m.emit(insert, view(next, 128), view(elements, 128), { ...from, disp: from.disp + (first + i) * step }, i);
      elements = next;
    }
    const result = m.register('vec');
    m.emit(loadingOf(element), wide.view(result, 32), view(elements, 128));
    return result;
  };
  // Eight words fill the register that they are collected in.
  const eight = laneCode(m, 8);
  const lanes = bytes * code.lanes <= 16 ? part(0, code) : code.join(part(0, eight), part(8, eight));
  return valuesOfBytes(code, element, lanes);
}

/** An address without an index register. */
function pointer(code: LaneCode, address: Address): Address {
  if (address.index === undefined) return address;
  const base = code.machine.register('gp');
  code.machine.emit('lea', q(base), address);
  return { kind: 'address', base, scale: 1, disp: 0, bits: 0 };
}

/** Of elements as they lie in memory: i1 as a mask, and 4-bit integers without the high half of their byte. */
function valuesOfBytes(code: LaneCode, element: ScalarElement, x: Register): Register {
  const integer = integerType(element);
  if (integer?.bits === 1) return code.compareIntegers('GT', 32, true, x, code.zero());
  return integer?.bits === 4 ? new LaneIntegers(code).wrap(x, integer) : x;
}

const storedElement = (element: ScalarElement): StoredElement => ({
  bytes: elementBytes(element) as StoredElement['bytes'],
  signed: integerType(element)?.signed ?? false,
});

/** What is stored: i1 as 0 and 1, 4 bits without others. */
function storedLanes(code: LaneCode, element: ScalarElement, value: Register): Register {
  const { bits } = elementTypes[element];
  if (bits === 1) return code.keep(32, value, code.words(32, 1));
  return bits === 4 ? code.op('vpand', 32, value, code.words(32, 15)) : value;
}

/** Neighbours, one a lane; with `mask` (of lanes as wide) only where it is set. False where there is no code for it. */
export function storeLanes(
  code: LaneCode,
  element: ScalarElement,
  value: Register,
  to: Address,
  mask?: Register,
): boolean {
  return code.store(storedElement(element), to, storedLanes(code, element, value), mask);
}

/** Neighbours, all lanes, past the caches: `LaneCode.stream` says where. */
export function streamLanes(code: LaneCode, element: ScalarElement, value: Register, to: Address): void {
  code.stream(storedElement(element), to, storedLanes(code, element, value));
}

/** Lanes `stride` elements apart. */
export function scatterLanes(
  code: LaneCode,
  element: ScalarElement,
  value: Register,
  to: Address,
  stride: number,
  mask?: Register,
): boolean {
  const m = code.machine;
  const bytes = elementBytes(element);
  const strideBytes = stride * bytes;
  const data = storedLanes(code, element, value);
  if (bytes >= 4) return code.scatter(laneBitsOf(element), { from: pointer(code, to), strideBytes }, data, mask);
  if (mask !== undefined || code.active !== undefined) return false;
  let quarter = data;
  for (let i = 0; i < code.lanes; i++) {
    if (i % 4 === 0) quarter = code.quarter(data, i / 4);
    const one = sizedAt({ ...to, disp: to.disp + i * strideBytes }, 8 * bytes);
    if (bytes === 2) m.emit('vpextrw', one, view(quarter, 128), 2 * (i % 4));
    else m.emit('vpextrb', one, view(quarter, 128), 4 * (i % 4));
  }
  return true;
}
