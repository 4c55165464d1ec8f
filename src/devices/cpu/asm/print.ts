/**
 * Operands and instructions in Intel syntax, as the GNU assembler reads them after `.intel_syntax noprefix`.
 */
import type { Form, Slot } from './forms.ts';
import type { Gp, Mem, Operand, Vec } from './operands.ts';

const EIGHT = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const WIDTH: Readonly<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
  128: 'xmmword',
  256: 'ymmword',
  512: 'zmmword',
};

function gpText({ id, bits, high }: Gp): string {
  if (high) return `${'acdb'[id - 4]}h`;
  if (id >= 8) return `r${id}${{ 8: 'b', 16: 'w', 32: 'd', 64: '' }[bits]}`;
  if (bits === 8) return id < 4 ? `${'acdb'[id]}l` : `${EIGHT[id]}l`;
  return `${{ 16: '', 32: 'e', 64: 'r' }[bits]}${EIGHT[id]}`;
}

const vecText = (register: Vec) => `${{ 128: 'x', 256: 'y', 512: 'z' }[register.bits]}mm${register.id}`;

function memText(mem: Mem, slot: Slot | undefined): string {
  const terms: string[] = [];
  if (mem.label !== undefined) terms.push('rip', mem.label.name);
  if (mem.base !== undefined) terms.push(gpText(mem.base));
  if (mem.index !== undefined) {
    terms.push(`${mem.index.kind === 'vec' ? vecText(mem.index) : gpText(mem.index)}*${mem.scale}`);
  }
  const sign = mem.disp < 0 ? '-' : '+';
  const disp = `0x${Math.abs(mem.disp).toString(16)}`;
  if (terms.length === 0) terms.push(mem.disp < 0 ? `-${disp}` : disp);
  else if (mem.disp !== 0) terms.push(`${disp}`);
  const sum =
    mem.disp !== 0 && terms.length > 1 ? `${terms.slice(0, -1).join('+')}${sign}${terms.at(-1)}` : terms.join('+');
  // An absolute address needs the segment, or it would read as an immediate.
  const address = `${mem.base === undefined && mem.index === undefined && mem.label === undefined ? 'ds:' : ''}[${sum}]`;
  if (mem.broadcast) return `${address}{1to${(slot?.mem ?? 0) / (slot?.bcst ?? 1) || 'n'}}`;
  const width = WIDTH[slot?.vsib !== undefined ? 0 : (slot?.mem ?? mem.bits)];
  return width === undefined ? address : `${width} ptr ${address}`;
}

/** @param slot what the chosen form says of the operand: the width of memory, the element of a broadcast. */
export function operandText(operand: Operand, slot?: Slot): string {
  if (typeof operand !== 'object') return operand < 0 ? `-0x${(-operand).toString(16)}` : `0x${operand.toString(16)}`;
  switch (operand.kind) {
    case 'gp':
      return gpText(operand);
    case 'vec':
      return `${vecText(operand)}${maskText(operand.mask?.id, operand.zeroing)}`;
    case 'k':
      return `k${operand.id}${maskText(operand.mask?.id)}`;
    case 'tmm':
      return `tmm${operand.id}`;
    case 'mem':
      return `${memText(operand, slot)}${maskText(operand.mask?.id)}`;
    case 'label':
      return operand.name;
    case 'rounding':
      return `{${operand.mode}}`;
    default:
      return operand satisfies never;
  }
}

const maskText = (id: number | undefined, zeroing = false) =>
  id === undefined ? '' : `{k${id}}${zeroing ? '{z}' : ''}`;

/** One instruction; static rounding is written before an immediate. */
export function formatInstruction(form: Form, operands: readonly Operand[]): string {
  const words = operands.map((operand, index) => operandText(operand, form.slots[index]));
  if (words.length > form.slots.length && form.order.endsWith('I')) {
    const [immediate, mode] = words.splice(-2);
    words.push(mode, immediate);
  }
  return `${form.mnemonic} ${words.join(', ')}`.trim();
}
