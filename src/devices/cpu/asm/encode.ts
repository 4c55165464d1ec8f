/**
 * Bytes of one instruction: legacy with REX, VEX and EVEX prefixes, ModRM, SIB, displacement, immediate.
 * Intel SDM, volume 2, chapter 2.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Form } from './forms.ts';
import { formText } from './forms.ts';
import type { Label, Mem, Operand, Rounding } from './operands.ts';

/** Four bytes, `at` of the instruction, become the distance from its end to `label + addend`. */
export interface LabelFix {
  readonly at: number;
  readonly label: Label;
  readonly addend: number;
}

/** Bytes of instructions, one after another: an array for each would be most of what an assembler takes. */
export class CodeBytes {
  length = 0;
  #room = new Uint8Array(1024);

  push(byte: number): void {
    if (this.length === this.#room.length) {
      const more = new Uint8Array(2 * this.length);
      more.set(this.#room);
      this.#room = more;
    }
    this.#room[this.length++] = byte;
  }

  copy(start: number, length: number, to: Uint8Array, at: number): void {
    for (let i = 0; i < length; i++) to[at + i] = this.#room[start + i] as number;
  }
}

/** A form's operands by their role. */
interface Roles {
  reg: number;
  /** A register in ModRM.rm; 0 beside a memory operand. */
  rm: number;
  mem: Mem | undefined;
  vvvv: number;
  opcodeReg: number;
  is4: number;
  immediates: readonly { operand: number | bigint; bytes: number }[];
  target: Label | undefined;
  mask: number;
  zeroing: boolean;
  rounding: Rounding['mode'] | undefined;
  /** A byte register that REX makes another one. */
  high: boolean;
  /** A byte register that exists with REX alone. */
  low: boolean;
}

const none: Roles['immediates'] = [];
const IMMEDIATE_BYTES = { i8: 1, s8: 1, i16: 2, i32: 4, s32: 4, i64: 8, one: 0 } as const;

function roles(form: Form, operands: readonly Operand[]): Roles {
  const found: Roles = {
    reg: typeof form.modrm === 'number' ? form.modrm : 0,
    rm: 0,
    mem: undefined,
    vvvv: 0,
    opcodeReg: 0,
    is4: -1,
    immediates: none,
    target: undefined,
    mask: 0,
    zeroing: false,
    rounding: undefined,
    high: false,
    low: false,
  };
  for (let index = 0; index < operands.length; index++) {
    const operand = operands[index];
    if (typeof operand !== 'object') {
      const bytes = IMMEDIATE_BYTES[form.slots[index].imm ?? 'one'];
      if (bytes > 0) found.immediates = [...found.immediates, { operand, bytes }];
      continue;
    }
    switch (operand.kind) {
      case 'label':
        found.target = operand;
        continue;
      case 'rounding':
        found.rounding = operand.mode;
        continue;
      case 'mem':
        found.mem = operand;
        found.mask = operand.mask?.id ?? found.mask;
        continue;
      case 'gp':
        if (operand.high) found.high = true;
        else if (operand.bits === 8 && operand.id >= 4) found.low = true;
        break;
      case 'vec':
        if (operand.zeroing) found.zeroing = true;
        found.mask = operand.mask?.id ?? found.mask;
        break;
      case 'k':
        found.mask = operand.mask?.id ?? found.mask;
        break;
      case 'tmm':
        break;
      default:
        operand satisfies never;
    }
    const letter = form.order[index];
    if (letter === 'R') found.reg = operand.id;
    else if (letter === 'M') found.rm = operand.id;
    else if (letter === 'V') found.vvvv = operand.id;
    else if (letter === 'O') found.opcodeReg = operand.id;
    else if (letter === '4') found.is4 = operand.id;
  }
  return found;
}

const refuse = (form: Form, message: string, hint?: string) =>
  new IngotError('InvalidArgument', `${formText(form)}: ${message}`, {
    op: form.mnemonic,
    ...(hint !== undefined && { hint }),
  });

const fitsByte = (value: number) => value >= -128 && value <= 127;

function pushLittle(bytes: CodeBytes, value: number | bigint, count: number): void {
  if (typeof value === 'number' && count <= 4) {
    for (let index = 0; index < count; index++) bytes.push((value >>> (8 * index)) & 0xff);
    return;
  }
  let rest = BigInt.asUintN(64, BigInt(value));
  for (let index = 0; index < count; index++) {
    bytes.push(Number(rest & 0xffn));
    rest >>= 8n;
  }
}

/** ModRM.rm, the SIB byte and the displacement. */
function pushMemory(bytes: CodeBytes, form: Form, reg: number, mem: Mem, unit: number): void {
  const field = (reg & 7) << 3;
  const { base, index, disp } = mem;
  if (!Number.isInteger(disp) || disp < -0x8000_0000 || disp > 0x7fff_ffff) {
    throw refuse(form, `the displacement ${disp} does not fit in 32 bits`);
  }
  if ((base !== undefined && base.bits !== 64) || (index?.kind === 'gp' && index.bits !== 64)) {
    throw refuse(form, 'an address is made of 64-bit registers');
  }
  if (index?.kind === 'gp' && index.id === 4) throw refuse(form, 'rsp cannot be an index');
  if (mem.label !== undefined) {
    bytes.push(field | 5);
    pushLittle(bytes, 0, 4);
    return;
  }
  const scale = Math.log2(mem.scale) << 6;
  const indexField = index === undefined ? 4 << 3 : (index.id & 7) << 3;
  if (base === undefined) {
    bytes.push(field | 4);
    bytes.push(scale | indexField | 5);
    pushLittle(bytes, disp, 4);
    return;
  }
  const needsSib = index !== undefined || (base.id & 7) === 4 || form.sib;
  const short = disp % unit === 0 && fitsByte(disp / unit);
  const mod = disp === 0 && (base.id & 7) !== 5 ? 0 : short ? 1 : 2;
  bytes.push((mod << 6) | field | (needsSib ? 4 : base.id & 7));
  if (needsSib) bytes.push(scale | indexField | (base.id & 7));
  if (mod === 1) bytes.push((disp / unit) & 0xff);
  else if (mod === 2) pushLittle(bytes, disp, 4);
}

function pushLegacy(bytes: CodeBytes, form: Form, r: number, x: number, b: number, found: Roles): void {
  if (form.prefix !== 0) bytes.push(form.prefix);
  if (form.lock) bytes.push(0xf0);
  const rex = (form.w ? 8 : 0) | ((r & 8) >> 1) | ((x & 8) >> 2) | ((b & 8) >> 3);
  if (rex !== 0 || found.low) {
    if (found.high) throw refuse(form, 'ah, bh, ch and dh cannot be used in an instruction with a REX prefix');
    bytes.push(0x40 | rex);
  }
  if (form.map > 0) bytes.push(0x0f);
  if (form.map === 2) bytes.push(0x38);
  if (form.map === 3) bytes.push(0x3a);
}

const PP: Readonly<Record<number, number>> = { 0: 0, 102: 1, 243: 2, 242: 3 };
const ROUNDING = { 'rn-sae': 0, 'rd-sae': 1, 'ru-sae': 2, 'rz-sae': 3, sae: 0 } as const;

function pushVex(bytes: CodeBytes, form: Form, r: number, x: number, b: number, found: Roles): void {
  const pp = PP[form.prefix] | (form.length === 256 ? 4 : 0) | ((~found.vvvv & 15) << 3);
  const high = (~r & 8) << 4;
  if (!form.w && form.map === 1 && ((x | b) & 8) === 0) {
    bytes.push(0xc5);
    bytes.push(high | pp);
    return;
  }
  bytes.push(0xc4);
  bytes.push(high | ((~x & 8) << 3) | ((~b & 8) << 2) | form.map);
  bytes.push((form.w ? 0x80 : 0) | pp);
}

function pushEvex(bytes: CodeBytes, form: Form, r: number, x: number, b: number, found: Roles): void {
  const { mem } = found;
  // A register in ModRM.rm has its fifth bit in X, an index register of vectors in V'.
  const x3 = mem === undefined ? b >> 1 : x;
  const v = mem?.index?.kind === 'vec' ? mem.index.id : found.vvvv;
  const first = ((~r & 8) << 4) | ((~x3 & 8) << 3) | ((~b & 8) << 2) | (~r & 16) | form.map;
  const second = (form.w ? 0x80 : 0) | ((~found.vvvv & 15) << 3) | 4 | PP[form.prefix];
  const length = form.length === 512 ? 2 : form.length === 256 ? 1 : 0;
  const control = found.rounding === undefined ? length : ROUNDING[found.rounding];
  const b1 = found.rounding !== undefined || mem?.broadcast ? 0x10 : 0;
  bytes.push(0x62);
  bytes.push(first);
  bytes.push(second);
  bytes.push((found.zeroing ? 0x80 : 0) | (control << 5) | b1 | ((~v & 16) >> 1) | found.mask);
}

/** Bytes that one step of disp8 counts. */
function displacementUnit(form: Form, operands: readonly Operand[], mem: Mem): number {
  if (form.space !== 'evex') return 1;
  if (form.disp8 !== 0) return form.disp8;
  const slot = form.slots[operands.indexOf(mem)];
  return ((mem.broadcast ? slot.bcst : slot.mem) ?? 8) / 8;
}

/** A gather needs destination, index and mask, an AMX product its three tiles, to be different registers. */
function checkDistinct(form: Form, operands: readonly Operand[]): void {
  if (!form.distinct) return;
  const ids = operands.flatMap((operand) => {
    if (typeof operand !== 'object') return [];
    if (operand.kind === 'vec' || operand.kind === 'tmm') return [operand.id];
    return operand.kind === 'mem' && operand.index !== undefined ? [operand.index.id] : [];
  });
  if (new Set(ids).size < ids.length) throw refuse(form, 'its registers must be distinct');
}

/**
 * Appends an instruction.
 * @throws IngotError 'InvalidArgument' for operands that fit the form one by one but not together; nothing of it counts then.
 */
export function encode(form: Form, operands: readonly Operand[], bytes: CodeBytes): LabelFix | undefined {
  checkDistinct(form, operands);
  const found = roles(form, operands);
  const start = bytes.length;
  const { mem } = found;
  const b = mem !== undefined ? (mem.base?.id ?? 0) : found.rm | found.opcodeReg;
  const x = mem?.index?.id ?? 0;
  if (form.space === 'legacy') pushLegacy(bytes, form, found.reg, x, b, found);
  else if (form.space === 'vex') pushVex(bytes, form, found.reg, x, b, found);
  else pushEvex(bytes, form, found.reg, x, b, found);
  bytes.push(form.opcode | (found.opcodeReg & 7));
  for (const byte of form.tail) bytes.push(byte);
  let fix: LabelFix | undefined;
  if (form.modrm !== 'none') {
    if (mem === undefined) bytes.push(0xc0 | ((found.reg & 7) << 3) | (b & 7));
    else {
      pushMemory(bytes, form, found.reg, mem, displacementUnit(form, operands, mem));
      if (mem.label !== undefined) fix = { at: bytes.length - 4 - start, label: mem.label, addend: mem.disp };
    }
  }
  if (found.is4 >= 0) bytes.push(found.is4 << 4);
  for (const { operand, bytes: count } of found.immediates) pushLittle(bytes, operand, count);
  if (found.target !== undefined) {
    fix = { at: bytes.length - start, label: found.target, addend: 0 };
    pushLittle(bytes, 0, (form.slots[0].rel ?? 32) / 8);
  }
  return fix;
}
