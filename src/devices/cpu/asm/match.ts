/**
 * Which form of a mnemonic fits given operands: the first in the order of the tables whose every slot takes its operand.
 */
import { IngotError } from '../../../base/errors.ts';
import { formTable } from './form-table.ts';
import { type Form, formText, readRow, type Slot } from './forms.ts';
import type { GpBits, K, Mem, Operand, VecBits } from './operands.ts';
import { operandText } from './print.ts';
import { type Mnemonic, ROWS } from './tables.ts';

export const { formsOf, mnemonics } = formTable(ROWS, readRow);

const within = (value: number | bigint, low: number | bigint, high: number | bigint) => value >= low && value <= high;

/** Whether an immediate can be written in a slot. Unsigned readings are taken where no sign is extended. */
function immediateFits(imm: Slot['imm'], value: number | bigint): boolean {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return false;
  switch (imm) {
    case undefined:
      return false;
    case 'one':
      return within(value, 1, 1);
    case 's8':
      return within(value, -0x80, 0x7f);
    case 's32':
      return within(value, -0x8000_0000, 0x7fff_ffff);
    case 'i8':
      return within(value, -0x80, 0xff);
    case 'i16':
      return within(value, -0x8000, 0xffff);
    case 'i32':
      return within(value, -0x8000_0000, 0xffff_ffff);
    case 'i64':
      return within(value, -(1n << 63n), (1n << 64n) - 1n);
    default:
      return imm satisfies never;
  }
}

function memFits(slot: Slot, mem: Mem, evex: boolean): boolean {
  if (!maskFits(slot, mem.mask)) return false;
  const gathers = mem.index?.kind === 'vec';
  if (gathers !== (slot.vsib !== undefined)) return false;
  if (mem.index?.kind === 'vec') return mem.index.bits === slot.vsib && (evex || mem.index.id < 16);
  if (mem.broadcast) return slot.bcst !== undefined && (mem.bits === 0 || mem.bits === slot.mem);
  if (slot.mem === undefined) return false;
  if (slot.sib && mem.label !== undefined) return false;
  return mem.bits === 0 || slot.mem === 0 || mem.bits === slot.mem;
}

function maskFits(slot: Slot, mask: K | undefined, zeroing = false): boolean {
  if (mask === undefined) return slot.mask !== 'needed';
  return mask.id !== 0 && (zeroing ? slot.mask === 'zero' : slot.mask !== undefined);
}

function fits(slot: Slot, operand: Operand, evex: boolean): boolean {
  if (typeof operand === 'number' || typeof operand === 'bigint') return immediateFits(slot.imm, operand);
  switch (operand.kind) {
    case 'gp':
      return slot.gp === operand.bits && (slot.fixed === undefined || (slot.fixed === operand.id && !operand.high));
    case 'vec':
      return slot.vec === operand.bits && (evex || operand.id < 16) && maskFits(slot, operand.mask, operand.zeroing);
    case 'k':
      return slot.k === true && maskFits(slot, operand.mask);
    case 'tmm':
      return slot.tile === true;
    case 'mem':
      return memFits(slot, operand, evex);
    case 'label':
      return slot.rel !== undefined;
    case 'rounding':
      return false;
    default:
      return operand satisfies never;
  }
}

function formFits(form: Form, operands: readonly Operand[]): boolean {
  const last = operands.at(-1);
  let count = operands.length;
  if (typeof last === 'object' && last.kind === 'rounding') {
    if (form.rounding === undefined || (form.rounding === 'sae') !== (last.mode === 'sae')) return false;
    count--;
    if (operands.some((operand) => typeof operand === 'object' && operand.kind === 'mem')) return false;
  }
  if (count !== form.slots.length) return false;
  const evex = form.space === 'evex';
  return form.slots.every((slot, index) => fits(slot, operands[index], evex));
}

/** Whether a memory operand without a width could mean another one: `inc [rax]`. */
function ambiguous(form: Form, other: Form, operands: readonly Operand[]): boolean {
  return operands.some((operand, index) => isUnsized(operand) && form.slots[index].mem !== other.slots[index].mem);
}

const isUnsized = (operand: Operand) => typeof operand === 'object' && operand.kind === 'mem' && operand.bits === 0;

/**
 * The VEX prefix has two bytes only where ModRM.rm is one of the low eight registers: the form that stores instead of
 * loading puts the other register there.
 */
function shorterVex(form: Form, forms: readonly Form[], operands: readonly Operand[]): Form | undefined {
  if (form.space !== 'vex' || form.map !== 1 || form.w) return undefined;
  const high = (other: Form, role: 'R' | 'M') => {
    const operand = operands[other.order.indexOf(role)];
    return typeof operand === 'object' && operand.kind === 'vec' && operand.id > 7;
  };
  if (!high(form, 'M') || high(form, 'R')) return undefined;
  return forms.find(
    (other) => other.space === 'vex' && high(other, 'R') && !high(other, 'M') && formFits(other, operands),
  );
}

/** Forms found so far, by mnemonic and what `classOf` says of the operands. */
const found = new Map<string, Map<number, Form>>();

/**
 * @throws IngotError 'InvalidArgument': no such form (the hint names those there are), an immediate out of range, or a
 * memory operand whose width must be said.
 */
export function findForm(mnemonic: Mnemonic, operands: readonly Operand[]): Form {
  let key = operands.length <= 5 ? 0 : Number.NaN;
  for (const operand of operands) key = key * CLASSES + classOf(operand);
  if (Number.isNaN(key)) return searchForm(mnemonic, operands);
  let known = found.get(mnemonic);
  if (known === undefined) {
    known = new Map();
    found.set(mnemonic, known);
  }
  let form = known.get(key);
  if (form === undefined) {
    form = searchForm(mnemonic, operands);
    known.set(key, form);
  }
  return form;
}

/** Five classes make a number below 2^50. */
const CLASSES = 1024;
const VEC_BITS: Readonly<Record<VecBits, number>> = { 128: 0, 256: 1, 512: 2 };
const GP_BITS: Readonly<Record<GpBits, number>> = { 8: 0, 16: 1, 32: 2, 64: 3 };
const MEM_BITS: Readonly<Record<number, number>> = { 0: 0, 8: 1, 16: 2, 32: 3, 64: 4, 128: 5, 256: 6, 512: 7 };

/** 1 to 1023: all that the choice of a form looks at, so that operands of one class take one form; NaN where it is not known. */
function classOf(operand: Operand): number {
  if (typeof operand !== 'object') return immediateClass(operand);
  switch (operand.kind) {
    case 'label':
      return 8;
    case 'rounding':
      return operand.mode === 'sae' ? 10 : 11;
    case 'tmm':
      return 12;
    case 'k':
      return 13 + maskClass(operand.mask);
    case 'gp':
      return 16 + GP_BITS[operand.bits] + 4 * Math.min(operand.id, 2) + (operand.high ? 12 : 0);
    case 'vec': {
      const file = operand.id < 8 ? 0 : operand.id < 16 ? 1 : 2;
      return 40 + VEC_BITS[operand.bits] + 3 * (file + 3 * (maskClass(operand.mask) + (operand.zeroing ? 3 : 0)));
    }
    case 'mem': {
      const { index, broadcast, mask, label } = operand;
      const gather = index?.kind === 'vec' ? 1 + VEC_BITS[index.bits] + (index.id < 16 ? 0 : 3) : 0;
      const flags = (broadcast ? 1 : 0) + (label === undefined ? 0 : 2);
      return 94 + (MEM_BITS[operand.bits] ?? Number.NaN) + 8 * (flags + 4 * (maskClass(mask) + 3 * gather));
    }
    default:
      return operand satisfies never;
  }
}

const maskClass = (mask: K | undefined) => (mask === undefined ? 0 : mask.id === 0 ? 1 : 2);

/** The ranges of `immediateFits`. */
function immediateClass(value: number | bigint): number {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return Number.NaN;
  if (value === 1 || value === 1n) return 1;
  if (value >= -0x80 && value <= 0x7f) return 2;
  if (value >= -0x80 && value <= 0xff) return 3;
  if (value >= -0x8000 && value <= 0xffff) return 4;
  if (value >= -0x8000_0000 && value <= 0x7fff_ffff) return 5;
  if (value >= -0x8000_0000 && value <= 0xffff_ffff) return 6;
  return within(value, -(1n << 63n), (1n << 64n) - 1n) ? 7 : Number.NaN;
}

function searchForm(mnemonic: Mnemonic, operands: readonly Operand[]): Form {
  const forms = formsOf(mnemonic);
  const first = forms.find((candidate) => formFits(candidate, operands));
  if (first === undefined) throw noForm(mnemonic, forms, operands);
  const form = shorterVex(first, forms, operands) ?? first;
  if (operands.some(isUnsized)) {
    const other = forms.find((candidate) => formFits(candidate, operands) && ambiguous(form, candidate, operands));
    if (other !== undefined) {
      throw new IngotError(
        'InvalidArgument',
        `${instructionText(mnemonic, operands)} does not say how wide its memory operand is`,
        {
          op: mnemonic,
          hint: `wrap it in sized(mem, bits): ${formText(form)}, or ${formText(other)}`,
        },
      );
    }
  }
  return form;
}

function instructionText(mnemonic: string, operands: readonly Operand[]): string {
  return `${mnemonic} ${operands.map((operand) => operandText(operand)).join(', ')}`.trim();
}

function noForm(mnemonic: string, forms: readonly Form[], operands: readonly Operand[]): IngotError {
  const text = instructionText(mnemonic, operands);
  const place = { op: mnemonic };
  if (forms.length === 0) return new IngotError('InvalidArgument', `no instruction is called ${mnemonic}`, place);
  // With 1, which every immediate can hold, in place of the numbers: are they what is wrong?
  const relaxed = operands.map((operand) => (typeof operand === 'object' ? operand : 1));
  const fitting = forms.filter((form) => formFits(form, relaxed));
  const problem = fitting.length > 0 ? 'the immediate is out of range' : 'there is no such form';
  const alike = forms.filter((form) => form.slots.length === operands.length);
  const shown = fitting.length > 0 ? fitting : alike.length > 0 ? alike : forms;
  return new IngotError('InvalidArgument', `${text}: ${problem}`, {
    ...place,
    hint: `the forms are ${shown.map(formText).join('; ')}`,
  });
}
