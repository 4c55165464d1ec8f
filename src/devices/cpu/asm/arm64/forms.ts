/**
 * Instruction forms, read from the rows of the tables: `mnemonic | operands | bits | shapes`, as in
 * `add | Rd Rn Rm shift | z0001011kk0mmmmmiiiiiinnnnnddddd`.
 *
 * Bits, from 31 to 0: 0 and 1 stand for themselves, a letter for a field. Operands put themselves into the field of the letter
 * that their name ends in:
 *   Rd either width of a general register, which all R of a form share (z: 1 for 64 bits), Xd 64, Wd 32; `^`: 31 is sp, not zero.
 *   Vd a vector of the form's shape, Vd.1 Vd.2 of its first and second shape, Vn[] one element (j: its number with the size
 *   of the element below it, as DUP and INS have it; l: the number alone, of the second one), Bd Hd Sd Dd Qd its first element, Ln a table of registers (c: how many).
 *   shift what is done to the register before it, or nothing (k, i); u12 plain or shifted by 12 (h, i); lsl16 a
 *   shift by a multiple of 16, or nothing (k); bits an immediate of repeated runs of ones (i: N:immr:imms); r6 s6 fields of their letters; u4 u8 u16 as they are; zero: 0;
 *   left right a shift of the elements (i: immh:immb).
 *   at*8 memory at a multiple of 8 bytes, near at any of 9 bits, index*8 base and index (k: by 8); pre post change the base;
 *   off*8 for pairs; [Xn] no offset.
 *   cond a condition (c); rel26 rel19 rel14 rel21 a label (i, in words; j: the low two bits of rel21); bit the number of a bit below 32 (b).
 * Shapes: one form for each; Q: 1 for whole registers, ZZ: size of the (narrower) element, F: 1 for f64, Y: 1 where the narrower
 * is 32 bits, eeeee: the element as DUP has it.
 */
import { IngotError } from '../../../../base/errors.ts';
import { formTable } from '../form-table.ts';
import { elementBits, isWhole, type Operand, operandText, type Place, type Shape } from './operands.ts';
import { INTEGER } from './table-integer.ts';
import { VECTOR } from './table-vector.ts';

const ROWS = [...INTEGER, ...VECTOR] as const;
type MnemonicOf<R extends string> = R extends `${infer M} | ${string}` ? M : never;
/** The names that `Arm64Assembler.emit` knows. */
export type Mnemonic = MnemonicOf<(typeof ROWS)[number]>;

export interface Form {
  readonly mnemonic: string;
  readonly slots: readonly string[];
  /** Bits that are 1 in every instruction of the form. */
  readonly fixed: number;
  /** Positions of a field's bits, the highest first. */
  readonly fields: ReadonlyMap<string, readonly number[]>;
  /** First and second shape. */
  readonly shapes: readonly Shape[];
}

function readRow(row: string): readonly Form[] {
  const [mnemonic = '', operands = '', bits = '', shapes = ''] = row.split('|').map((column) => column.trim());
  if (bits.length !== 32) throw new Error(`${row}: ${bits.length} bits`);
  const fields = new Map<string, number[]>();
  let fixed = 0;
  [...bits].forEach((bit, index) => {
    if (bit === '1') fixed += 2 ** (31 - index);
    else if (bit !== '0') fields.set(bit, [...(fields.get(bit) ?? []), 31 - index]);
  });
  const slots = operands === '' ? [] : operands.split(/\s+/);
  const each = shapes === '' ? [''] : shapes.split(' ');
  return each.map((text) => {
    const pair = text === '' ? [] : (text.split('/') as Shape[]);
    return { mnemonic, slots, fixed, fields, shapes: pair };
  });
}

export const { formsOf, mnemonics } = formTable(ROWS, readRow);

/** A place in the code that an instruction names by its distance: in words, or for ADR in bytes. */
export interface Fix {
  readonly label: number;
  readonly field: 'rel26' | 'rel19' | 'rel14' | 'rel21';
}

export interface Encoded {
  readonly word: number;
  readonly fix?: Fix;
}

class Word {
  #value: number;
  readonly #fields: Form['fields'];
  constructor({ fixed, fields }: Form) {
    this.#value = fixed;
    this.#fields = fields;
  }
  get value(): number {
    return this.#value;
  }
  has(field: string): boolean {
    return this.#fields.has(field);
  }
  /** All bits of a field. */
  fill(field: string, value: boolean): void {
    this.put(field, value ? 2 ** (this.#fields.get(field) ?? []).length - 1 : 0);
  }
  /** False where the number does not fit. */
  put(field: string, value: number): boolean {
    const positions = this.#fields.get(field) ?? [];
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** positions.length) return false;
    positions.forEach((position, index) => {
      if (Math.floor(value / 2 ** (positions.length - 1 - index)) % 2 === 1) this.#value += 2 ** position;
    });
    return true;
  }
}

/** N:immr:imms of a bitmask immediate: a run of ones, rotated, repeated in elements of 2 to 64 bits. Undefined if there is none. */
export function bitmaskOf(value: bigint, bits: 32 | 64): number | undefined {
  let whole = BigInt.asUintN(bits, value);
  if (bits === 32) whole |= whole << 32n;
  const all = (1n << 64n) - 1n;
  if (whole === 0n || whole === all) return undefined;
  let size = 64;
  while (size > 2) {
    const half = BigInt(size / 2);
    const mask = (1n << half) - 1n;
    if ((whole & mask) !== ((whole >> half) & mask)) break;
    size /= 2;
  }
  const element = whole & ((1n << BigInt(size)) - 1n);
  const rotated = (by: number) =>
    by === 0 ? element : BigInt.asUintN(size, (element << BigInt(by)) | (element >> BigInt(size - by)));
  for (let by = 0; by < size; by++) {
    const run = rotated(by);
    if ((run & (run + 1n)) !== 0n) continue;
    const ones = run.toString(2).length;
    const imms = ((~(2 * size - 1) & 0x3f) | (ones - 1)) & 0x3f;
    return (size === 64 ? 0x1000 : 0) | (by << 6) | imms;
  }
  return undefined;
}

/** The instruction in a form; undefined where the operands are not of it. */
export function encodeAs(form: Form, operands: readonly Operand[]): Encoded | undefined {
  const word = new Word(form);
  const { slots, shapes } = form;
  const [first, second = first] = shapes;
  if (first !== undefined && second !== undefined) {
    const bits = elementBits(elementBits(first) < elementBits(second) ? first : second);
    if (word.has('Q')) word.put('Q', isWhole(/^\d/.test(second) ? second : first) ? 1 : 0);
    if (word.has('Z')) word.put('Z', Math.log2(bits / 8));
    if (word.has('F')) word.put('F', bits === 64 ? 1 : 0);
    if (word.has('Y')) word.put('Y', bits === 32 ? 1 : 0);
    if (word.has('e')) word.put('e', bits / 8);
  }
  let width: number | undefined;
  let fix: Fix | undefined;
  let next = 0;
  let lanes = 0;
  for (const slot of slots) {
    const operand = operands[next++];
    if ((slot === 'shift' || slot === 'lsl16') && operand === undefined) continue;
    if (operand === undefined) return undefined;
    const ok = ((): boolean => {
      const field = slot.replace(/\^$|\.\d$|\[\]$/, '').at(-1) as string;
      if (/^[RXW][a-z]\^?$/.test(slot)) {
        if (typeof operand !== 'object' || operand.kind !== 'general') return false;
        if (operand.id === 31 && operand.sp !== slot.endsWith('^')) return false;
        if (slot[0] === 'R') {
          width ??= operand.bits;
          if (operand.bits !== width) return false;
        } else if (operand.bits !== (slot[0] === 'X' ? 64 : 32)) return false;
        return word.put(field, operand.id);
      }
      if (/^\[Xn\]$/.test(slot)) {
        return (
          isPlace(operand) &&
          operand.mode === 'offset' &&
          operand.offset === 0 &&
          operand.index === undefined &&
          word.put('n', operand.base.id)
        );
      }
      if (/^[VLBHSDQ][a-z]/.test(slot)) {
        if (typeof operand !== 'object' || operand.kind !== 'vector') return false;
        if (slot[0] === 'L') {
          return operand.count !== undefined && word.put('c', operand.count - 1) && word.put('n', operand.id);
        }
        if (operand.count !== undefined) return false;
        if (slot.endsWith('[]')) {
          if (operand.lane === undefined || operand.shape !== second) return false;
          const bytes = elementBits(operand.shape) / 8;
          if (operand.lane >= 16 / bytes) return false;
          const placed =
            lanes++ === 0 ? word.put('j', operand.lane * 2 * bytes + bytes) : word.put('l', operand.lane * bytes);
          return placed && word.put(slot[1] as string, operand.id);
        }
        if (operand.lane !== undefined) return false;
        const wanted = slot[0] !== 'V' ? slot[0]?.toLowerCase() : slot.endsWith('.2') ? second : first;
        return operand.shape === wanted && word.put(slot[1] as string, operand.id);
      }
      if (slot === 'shift') {
        if (typeof operand !== 'object' || operand.kind !== 'shift') return false;
        const fits = operand.amount >= 0 && operand.amount < (width ?? 64);
        return fits && word.put('k', ['lsl', 'lsr', 'asr'].indexOf(operand.op)) && word.put('i', operand.amount);
      }
      if (slot === 'cond') {
        return (
          typeof operand === 'object' && operand.kind === 'condition' && word.put('c', conditionCode(operand.name))
        );
      }
      if (slot === 'rel26' || slot === 'rel19' || slot === 'rel14' || slot === 'rel21') {
        if (typeof operand !== 'object' || operand.kind !== 'label') return false;
        fix = { label: operand.id, field: slot };
        return true;
      }
      if (/^(at|near|index|pre|post|off)/.test(slot)) return isPlace(operand) && putPlace(word, slot, operand);
      if (slot === 'lsl16') {
        if (typeof operand !== 'object' || operand.kind !== 'shift') return false;
        return operand.op === 'lsl' && operand.amount < (width ?? 64) && word.put('k', operand.amount / 16);
      }
      if (typeof operand === 'bigint' && slot !== 'bits') return false;
      if (typeof operand === 'object') return false;
      const value = Number(operand);
      switch (slot) {
        case 'bits': {
          const mask = bitmaskOf(BigInt(operand), width === 32 ? 32 : 64);
          return mask !== undefined && (width !== 32 || mask < 0x1000) && word.put('i', mask);
        }
        case 'u12':
          if (value >= 4096 && value % 4096 === 0) return word.put('h', 1) && word.put('i', value / 4096);
          return word.put('i', value);
        case 'r6':
          return value < (width ?? 64) && word.put('r', value);
        case 's6':
          return value < (width ?? 64) && word.put('s', value);
        case 'zero':
          return value === 0;
        case 'bit':
          return word.put('b', value);
        case 'left': {
          const bits = elementBits(second as Shape);
          return value >= 0 && value < bits && word.put('i', bits + value);
        }
        case 'right': {
          const bits = elementBits(second as Shape);
          return value >= 1 && value <= bits && word.put('i', 2 * bits - value);
        }
        case 'u4':
        case 'u8':
        case 'u16':
          return word.put('i', value);
        default:
          throw new Error(`no operand is called ${slot}`);
      }
    })();
    if (!ok) return undefined;
  }
  if (next < operands.length) return undefined;
  if (word.has('z')) word.fill('z', width === 64);
  return { word: word.value, ...(fix && { fix }) };
}

const isPlace = (operand: Operand): operand is Place => typeof operand === 'object' && operand.kind === 'place';

const CODES = ['eq', 'ne', 'hs', 'lo', 'mi', 'pl', 'vs', 'vc', 'hi', 'ls', 'ge', 'lt', 'gt', 'le', 'al', 'nv'];
const conditionCode = (name: string) => CODES.indexOf(name);

function putPlace(word: Word, slot: string, { base, offset, index, shift = 0, mode }: Place): boolean {
  if (!word.put('n', base.id)) return false;
  const [kind, unitText] = slot.split('*');
  const unit = Number(unitText ?? 1);
  switch (kind) {
    case 'at':
      return mode === 'offset' && index === undefined && word.put('i', offset / unit);
    case 'near':
    case 'pre':
    case 'post': {
      const wanted = kind === 'near' ? 'offset' : kind;
      if (mode !== wanted || index !== undefined || offset < -256 || offset > 255) return false;
      return word.put('i', offset & 511);
    }
    case 'index':
      if (mode !== 'offset' || index === undefined || offset !== 0) return false;
      if (shift !== 0 && 2 ** shift !== unit) return false;
      return word.put('m', index.id) && word.put('k', shift === 0 ? 0 : 1);
    case 'off': {
      const steps = offset / unit;
      if (mode !== 'offset' || index !== undefined || steps < -64 || steps > 63) return false;
      return Number.isInteger(steps) && word.put('i', steps & 127);
    }
    default:
      throw new Error(`no operand is called ${slot}`);
  }
}

/** @throws IngotError 'InvalidArgument' when no form of the mnemonic takes these operands. */
export function encode(mnemonic: Mnemonic, operands: readonly Operand[]): Encoded {
  for (const form of formsOf(mnemonic)) {
    const encoded = encodeAs(form, operands);
    if (encoded !== undefined) return encoded;
  }
  const text = instructionText(mnemonic, operands);
  throw new IngotError('InvalidArgument', `no form of ${mnemonic} takes such operands: ${text}`);
}

/** Mnemonics of two words are system instructions, whose second word is an operand. */
export function instructionText(mnemonic: string, operands: readonly Operand[]): string {
  const words = operands.map(operandText);
  if (mnemonic === 'ld1r') words[0] = `{${words[0]}}`;
  const [name = '', system] = mnemonic.split(' ');
  if (system !== undefined) {
    if (name === 'mrs') words.push(system);
    else words.unshift(system);
  }
  return `${name} ${words.join(', ')}`.trim();
}
