/**
 * Instruction forms: a row of the tables read into what the encoder needs. A row is written after the notation of the
 * Intel SDM, volume 2: `mnemonic | operand encoding | operands | encoding`, one letter and one word for each operand.
 *
 * Operand encoding: R ModRM.reg, M ModRM.rm, V vvvv, O low bits of the opcode, I immediate, D relative target,
 * 4 register in the high half of an immediate, `.` implied by the opcode.
 *
 * Operands: r8 r16 r32 r64 (rm8 ... also memory), al cl ax eax rax, x y z vector, k mask, t tile, m8 ... m512 memory,
 * mem memory of no width, sib memory that needs a SIB byte, i8 i16 i32 i64 immediate, s8 s32 sign-extended one, 1 itself,
 * rel8 rel32 target, b16 b32 b64 broadcast element, `vm32x` a gather of 32-bit elements by the indices in an xmm.
 * `/` separates alternatives; {k} may be masked, {kz} also zeroing, {km} must be masked, {er} rounding, {sae} no exceptions.
 *
 * One row stands for every width of its instruction:
 *   - `Ov` in the encoding: operands of 16 (prefix 66), 32 and 64 bits (REX.W); `Oy`, `Wy`: 32 and 64. The operands rN,
 *     rmN, mN, aN, iN are of that width.
 *   - `VEX.*` is 128 and 256 bits, `EVEX.*` also 512. The operands v, h, q, e (memory m, mh, mq, me) are a whole, half,
 *     quarter and eighth of that. Rounding then belongs to 512 alone.
 * `N4` at the end of an EVEX row: disp8 counts 4 bytes where that is not the width of the memory operand.
 */
import type { GpBits, VecBits } from './operands.ts';

export type Immediate = 'i8' | 'i16' | 'i32' | 'i64' | 's8' | 's32' | 'one';

/** What one operand of a form may be. */
export interface Slot {
  readonly name: string;
  readonly gp?: GpBits;
  readonly vec?: VecBits;
  readonly k?: true;
  readonly tile?: true;
  /** The only register allowed. */
  readonly fixed?: number;
  /** Bits of the memory operand; 0 for none in particular. */
  readonly mem?: number;
  readonly sib?: true;
  /** Bits of the vector of indices. */
  readonly vsib?: VecBits;
  /** Bits of a broadcast element. */
  readonly bcst?: number;
  readonly imm?: Immediate;
  readonly rel?: 8 | 32;
  readonly mask?: 'merge' | 'zero' | 'needed';
  readonly rounding?: 'er' | 'sae';
}

export interface Form {
  readonly mnemonic: string;
  readonly slots: readonly Slot[];
  /** One letter for each slot. */
  readonly order: string;
  readonly space: 'legacy' | 'vex' | 'evex';
  /** Vector bits, 128 where the length is ignored. */
  readonly length: VecBits;
  readonly lock: boolean;
  /** 66, F3 or F2; 0 for none. */
  readonly prefix: number;
  /** 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A. */
  readonly map: number;
  readonly w: boolean;
  readonly opcode: number;
  /** Bytes that follow the opcode as they are. */
  readonly tail: readonly number[];
  /** ModRM: none, a register, or this number in ModRM.reg. */
  readonly modrm: 'none' | 'reg' | number;
  /** Bytes that one step of disp8 counts; 0: the memory operand's own. */
  readonly disp8: number;
  /** Of the last register operand. */
  readonly rounding: 'er' | 'sae' | undefined;
  /** A gather or a product of tiles, whose registers must be different ones. */
  readonly distinct: boolean;
  /** Its memory operand needs a SIB byte. */
  readonly sib: boolean;
}

/** Widths that one member of a row's family has. */
interface Width {
  readonly operand: 0 | 16 | 32 | 64;
  readonly length: VecBits;
}

const FIXED: Readonly<Record<string, { gp: GpBits; fixed: number }>> = {
  al: { gp: 8, fixed: 0 },
  cl: { gp: 8, fixed: 1 },
  ax: { gp: 16, fixed: 0 },
  eax: { gp: 32, fixed: 0 },
  rax: { gp: 64, fixed: 0 },
};
const ACCUMULATOR = { 16: 'ax', 32: 'eax', 64: 'rax' } as const;
const SHRINK: Readonly<Record<string, number>> = { v: 1, h: 2, q: 4, e: 8, x: 1, y: 1, z: 1 };
const PREFIXES: Readonly<Record<string, number>> = { 66: 0x66, F3: 0xf3, F2: 0xf2 };
const MAPS: Readonly<Record<string, number>> = { '0F': 1, '0F38': 2, '0F3A': 3, MAP5: 5, MAP6: 6 };
const LENGTHS: Readonly<Record<string, readonly VecBits[]>> = {
  LIG: [128],
  LZ: [128],
  L0: [128],
  L1: [256],
  128: [128],
  256: [256],
  512: [512],
  '256+': [256, 512],
};

const MASKS: Readonly<Record<string, Slot['mask']>> = { '{k}': 'merge', '{kz}': 'zero', '{km}': 'needed' };

const toBits = (text: string) => Number(text) as GpBits;

/** The vector register that a letter names at a length; at least an xmm. */
function vecBits(letter: string, length: VecBits): VecBits {
  if (letter === 'x') return 128;
  if (letter === 'y') return 256;
  if (letter === 'z') return 512;
  return Math.max(128, length / SHRINK[letter]) as VecBits;
}

function alternative(name: string, { operand, length }: Width): Omit<Slot, 'name'> {
  if (operand !== 0) {
    if (name === 'rN' || name === 'rmN' || name === 'mN')
      return alternative(name.replace('N', String(operand)), { operand: 0, length });
    if (name === 'aN') return FIXED[ACCUMULATOR[operand]];
    if (name === 'iN') return { imm: operand === 64 ? 's32' : `i${operand}` };
  }
  const fixed = FIXED[name];
  if (fixed !== undefined) return fixed;
  const match = /^(r|rm|m|b|rel|i|s)(\d+)$/.exec(name);
  if (match !== null) {
    const bits = toBits(match[2]);
    switch (match[1]) {
      case 'r':
        return { gp: bits };
      case 'rm':
        return { gp: bits, mem: bits };
      case 'm':
        return { mem: bits };
      case 'b':
        return { bcst: bits };
      case 'rel':
        return { rel: bits === 8 ? 8 : 32 };
      default:
        return { imm: name as Immediate };
    }
  }
  const gather = /^vm(\d+)([xyzvhq])$/.exec(name);
  if (gather !== null) return { mem: Number(gather[1]), vsib: vecBits(gather[2], length) };
  if (name === 'm') return { mem: length };
  if (/^m[hqe]$/.test(name)) return { mem: length / SHRINK[name[1]] };
  if (/^[xyzvhqe]$/.test(name)) return { vec: vecBits(name, length) };
  switch (name) {
    case 'k':
      return { k: true };
    case 't':
      return { tile: true };
    case 'mem':
      return { mem: 0 };
    case 'sib':
      return { mem: 0, sib: true };
    case '1':
      return { imm: 'one' };
    default:
      throw new Error(`no operand is called ${name}`);
  }
}

function slotName(slot: Omit<Slot, 'name'>): string {
  const names: string[] = [];
  if (slot.fixed !== undefined)
    names.push(slot.fixed === 1 ? 'cl' : `${{ 8: 'al', 16: 'ax', 32: 'eax', 64: 'rax' }[slot.gp ?? 8]}`);
  else if (slot.gp !== undefined) names.push(`r${slot.gp}`);
  if (slot.vec !== undefined) names.push(`${{ 128: 'x', 256: 'y', 512: 'z' }[slot.vec]}mm`);
  if (slot.k) names.push('k');
  if (slot.tile) names.push('tmm');
  if (slot.vsib !== undefined) names.push(`vm${slot.mem}${{ 128: 'x', 256: 'y', 512: 'z' }[slot.vsib]}`);
  else if (slot.mem !== undefined) names.push(slot.mem === 0 ? 'mem' : `m${slot.mem}`);
  if (slot.bcst !== undefined) names.push(`m${slot.bcst}bcst`);
  if (slot.imm !== undefined) names.push(slot.imm === 'one' ? '1' : slot.imm.replace('i', 'imm').replace('s', 'simm'));
  if (slot.rel !== undefined) names.push(`rel${slot.rel}`);
  const mask = slot.mask === undefined ? '' : slot.mask === 'zero' ? '{k}{z}' : '{k}';
  return names.join('/') + mask + (slot.rounding === undefined ? '' : `{${slot.rounding}}`);
}

/** Slots read so far: rows use few different ones. */
const slots = new Map<string, Slot>();

function slotOf(text: string, width: Width, scalar: boolean): Slot {
  const key = `${text} ${width.operand} ${width.length} ${scalar}`;
  let slot = slots.get(key);
  if (slot === undefined) {
    slot = readSlot(text, width, scalar);
    slots.set(key, slot);
  }
  return slot;
}

function readSlot(text: string, width: Width, scalar: boolean): Slot {
  const slot: Omit<Slot, 'name'> = Object.assign(
    {},
    ...text
      .replace(/\{.*?\}/g, '')
      .split('/')
      .map((name) => alternative(name, width)),
  );
  const mask = MASKS[/\{k.?\}/.exec(text)?.[0] ?? ''];
  const allowed = scalar || width.length === 512;
  const rounding = !allowed ? undefined : text.includes('{er}') ? 'er' : text.includes('{sae}') ? 'sae' : undefined;
  const whole = { ...slot, ...(mask && { mask }), ...(rounding && { rounding }) } satisfies Omit<Slot, 'name'>;
  return { ...whole, name: slotName(whole) };
}

const isGather = (order: string, slots: readonly Slot[]) =>
  order[0] === 'R' && slots.some((slot) => slot.vsib !== undefined);

/** The forms that a row stands for, in the order in which they are tried. */
export function readRow(row: string): readonly Form[] {
  const [mnemonic, order, operands, encoding] = row.split('|').map((column) => column.trim());
  const tokens = encoding.split(/\s+/);
  const head = /^E?VEX\./.test(tokens[0]) ? (tokens.shift() ?? '').split('.') : undefined;
  const space = head === undefined ? 'legacy' : head[0] === 'VEX' ? 'vex' : 'evex';
  let lock = false;
  let prefix = 0;
  let map = 0;
  let w = false;
  let operandSizes: readonly Width['operand'][] = [0];
  let lengths: readonly VecBits[] = [128];
  const fields = head === undefined ? tokens : head.slice(1);
  for (;;) {
    const token = fields[0];
    if (token === undefined) break;
    if (token in MAPS) {
      map = MAPS[token];
      fields.shift();
      if (head === undefined) break;
      continue;
    }
    if (token === 'F0') lock = true;
    else if (token in PREFIXES) prefix = PREFIXES[token];
    else if (token === 'W1' || token === 'REX.W') w = true;
    else if (token === 'Ov') operandSizes = [16, 32, 64];
    else if (token === 'Oy' || token === 'Wy') operandSizes = [32, 64];
    else if (token === '*') lengths = space === 'vex' ? [128, 256] : [128, 256, 512];
    else if (head !== undefined && token in LENGTHS) lengths = LENGTHS[token];
    else if (head === undefined) break;
    fields.shift();
  }
  const bytes: number[] = [];
  let modrm: Form['modrm'] = 'none';
  let disp8 = 0;
  for (const token of tokens) {
    if (token === '/r') modrm = 'reg';
    else if (token[0] === '/') modrm = Number(token[1]);
    else if (token[0] === 'N') disp8 = Number(token.slice(1));
    else bytes.push(Number.parseInt(token, 16));
  }
  const scalar = head?.includes('LIG') ?? false;
  const words = operands === '' ? [] : operands.split(/\s+/);
  return operandSizes.flatMap((operand) =>
    lengths.map((length): Form => {
      const slots = words.map((text) => slotOf(text, { operand, length }, scalar));
      return {
        mnemonic,
        slots,
        order,
        space,
        length,
        lock,
        prefix: operand === 16 ? 0x66 : prefix,
        map,
        w: w || operand === 64,
        opcode: bytes[0],
        tail: bytes.slice(1),
        modrm,
        disp8,
        rounding: slots.find((slot) => slot.rounding !== undefined)?.rounding,
        distinct: isGather(order, slots) || (slots.length === 3 && slots[0].tile === true),
        sib: slots.some((slot) => slot.sib === true),
      };
    }),
  );
}

/** A form as a person would look for it: `vaddps xmm{k}{z}, xmm, xmm/m128/m32bcst`. */
export function formText(form: Form): string {
  return `${form.mnemonic} ${form.slots.map((slot) => slot.name).join(', ')}`.trim();
}
