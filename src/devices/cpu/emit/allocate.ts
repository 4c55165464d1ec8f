/**
 * Registers for virtual ones: linear scan over live intervals (Poletto and Sarkar, "Linear scan register allocation",
 * 1999), with the spill chosen by weight: uses, times ten for each loop around them. What is spilled lives in the stack frame and passes through
 * registers that are kept free for that only if there is a spill.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Assembler } from '../asm/assembler.ts';
import { formsOf } from '../asm/match.ts';
import * as asm from '../asm/operands.ts';
import { gp, indexed, type Mem, type Operand, ptr, rip, sized, vec } from '../asm/operands.ts';
import type { Target } from '../target.ts';
import {
  type Address,
  fixedId,
  type Instruction,
  type Item,
  type MachineOperand,
  type Register,
  type RegisterFile,
  type Slot,
  type View,
} from './machine.ts';

type Pools = Readonly<Record<RegisterFile, readonly number[]>>;
const range = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i);
const gpPool = [8, 9, 10, 11, 6, 7, 3, 5, 12, 13, 14, 15];
/** Machine registers in the order in which they are given out: those that every instruction can name last. */
const POOLS: Readonly<Record<Target['vectorBits'], Pools>> = {
  256: { gp: gpPool, vec: range(0, 16), mask: [] },
  512: { gp: gpPool, vec: [...range(16, 32), ...range(0, 16)], mask: range(1, 8) },
};
/** What an instruction with spilled operands works in: as many as the most that one instruction reads. */
const SCRATCH: Pools = { gp: [1, 2, 0], vec: [15, 14, 13], mask: [7, 6, 5] };

interface Interval {
  readonly register: Register;
  /** Used where vector registers from 16 on cannot be. */
  low: boolean;
  start: number;
  end: number;
  weight: number;
  /** A register whose value it takes over by a move. */
  hint?: Register;
}

type Flat = Exclude<Item, { kind: 'block' }>;
/** First and last position of a loop, and the loop around it. */
interface Loop {
  readonly start: number;
  end: number;
  readonly outer: Loop | undefined;
  readonly weight: number;
}
interface Straight {
  readonly items: readonly Flat[];
  /** The innermost loop around each item. */
  readonly loops: readonly (Loop | undefined)[];
}

function straighten(items: readonly Item[]): Straight {
  const flat: Flat[] = [];
  const loops: (Loop | undefined)[] = [];
  const walk = (list: readonly Item[], around: Loop | undefined) => {
    for (const item of list) {
      if (item.kind !== 'block') {
        flat.push(item);
        loops.push(around);
      } else if (item.loop) {
        const weight = Math.min(10 * (around?.weight ?? 1), 1e6);
        const loop: Loop = { start: flat.length, end: flat.length, outer: around, weight };
        walk(item.items, loop);
        loop.end = flat.length - 1;
      } else walk(item.items, around);
    }
  };
  walk(items, undefined);
  return { items: flat, loops };
}

interface Touch {
  readonly register: Register;
  readonly reads: boolean;
  readonly writes: boolean;
}

/** Tells of each virtual register that an instruction names. */
function eachTouch(
  { operands, role }: Instruction,
  tell: (register: Register, reads: boolean, writes: boolean) => void,
) {
  const read = (register: Register | undefined) => {
    if (register !== undefined && register.id >= 0) tell(register, true, false);
  };
  for (let index = 0; index < operands.length; index++) {
    const operand = operands[index];
    if (typeof operand !== 'object') continue;
    if (operand.kind === 'view') {
      const first = index === 0;
      const writes = (first && role !== 'read') || (role === 'gather' && index === operands.length - 1);
      if (operand.register.id >= 0) tell(operand.register, !(first && role === 'write'), writes);
      read(operand.mask);
    } else if (operand.kind === 'address') {
      read(operand.base);
      read(operand.index);
      read(operand.mask);
    }
  }
}

const vexOnly = new Map<string, boolean>();
/** Whether no EVEX form has such operands, or a sequence of them would be long. */
function isVexOnly({ mnemonic, operands }: Instruction): boolean {
  if (/^vp(insr|extr)/.test(mnemonic)) return true;
  const [first] = operands;
  const toMask = typeof first === 'object' && first.kind === 'view' && first.register.file === 'mask';
  const key = `${mnemonic} ${operands.length} ${toMask}`;
  const known = vexOnly.get(key);
  if (known !== undefined) return known;
  const result = !formsOf(mnemonic).some(
    ({ space, slots: [to, ...others] }) =>
      space === 'evex' && others.length === operands.length - 1 && (to?.k === true) === toMask,
  );
  vexOnly.set(key, result);
  return result;
}

/** Whether a register holds the indices of a gather or scatter: the emulator of the tests refuses those from 16 on. */
function isIndex({ operands }: Instruction, register: Register): boolean {
  return operands.some((one) => typeof one === 'object' && one.kind === 'address' && one.index === register);
}

/** Reads happen at even positions, writes at odd ones, so that a result may take the register of an operand that ends. */
function intervalsOf({ items, loops }: Straight, pool: readonly number[]): Interval[] {
  const someHigh = pool.some((id) => id >= 16);
  const intervals = new Map<number, Interval>();
  items.forEach((item, index) => {
    if (item.kind !== 'instruction') return;
    const low = someHigh && isVexOnly(item);
    eachTouch(item, (register, reads, writes) => {
      const first = 2 * index + (reads ? 0 : 1);
      const last = 2 * index + (writes ? 1 : 0);
      let interval = intervals.get(register.id);
      if (interval === undefined) {
        interval = { register, low: false, start: first, end: last, weight: 0 };
        const source = item.operands[1];
        if (item.operands.length === 2 && /^v?mov/.test(item.mnemonic) && typeof source === 'object') {
          if (source.kind === 'view' && source.register.file === register.file) interval.hint = source.register;
        }
        intervals.set(register.id, interval);
      }
      interval.end = Math.max(interval.end, last);
      interval.weight += loops[index]?.weight ?? 1;
      if (someHigh && register.file === 'vec') interval.low ||= low || isIndex(item, register);
    });
  });
  // What comes into a loop and is used there lives until its last turn ends.
  for (const interval of intervals.values()) {
    for (let loop = loops[interval.end >> 1]; loop !== undefined; loop = loop.outer) {
      if (interval.start < 2 * loop.start) interval.end = Math.max(interval.end, 2 * loop.end + 1);
    }
  }
  return [...intervals.values()].sort((one, two) => one.start - two.start);
}

type Place = number | Slot;

function scan(intervals: readonly Interval[], pool: readonly number[], spillSlot: () => Slot): Map<number, Place> {
  const places = new Map<number, Place>();
  const free = new Set(pool);
  let active: Interval[] = [];
  for (const interval of intervals) {
    const live: Interval[] = [];
    for (const other of active) {
      if (other.end >= interval.start) live.push(other);
      else free.add(places.get(other.register.id) as number);
    }
    active = live;
    const fits = (place: Place | undefined) => typeof place === 'number' && (!interval.low || place < 16);
    const usable = (id: Place | undefined): id is number => fits(id) && free.has(id as number);
    const wanted = interval.hint === undefined ? undefined : places.get(interval.hint.id);
    const chosen = usable(wanted) ? wanted : pool.find(usable);
    if (chosen !== undefined) {
      free.delete(chosen);
      places.set(interval.register.id, chosen);
      active.push(interval);
      continue;
    }
    const victim = active
      .filter(({ register }) => fits(places.get(register.id)))
      .reduce((least, other) => (other.weight < least.weight ? other : least), interval);
    if (victim !== interval) {
      places.set(interval.register.id, places.get(victim.register.id) as number);
      active = [...active.filter((other) => other !== victim), interval];
    }
    places.set(victim.register.id, spillSlot());
  }
  return places;
}

export interface Allocation {
  readonly vectorBits: Target['vectorBits'];
  readonly items: readonly Flat[];
  readonly places: ReadonlyMap<number, Place>;
  readonly offsets: ReadonlyMap<Slot, number>;
  readonly frameBytes: number;
}

/** Chooses registers and lays out the stack frame. */
export function allocate(list: readonly Item[], vectorBits: Target['vectorBits']): Allocation {
  const straight = straighten(list);
  const pools = POOLS[vectorBits];
  const vectorBytes = vectorBits / 8;
  const intervals = intervalsOf(straight, pools.vec);
  const offsets = new Map<Slot, number>();
  let frameBytes = 0;
  const place = (slot: Slot) => {
    if (offsets.has(slot)) return;
    frameBytes = Math.ceil(frameBytes / slot.align) * slot.align;
    offsets.set(slot, frameBytes);
    frameBytes += slot.bytes;
  };
  for (const item of straight.items) {
    if (item.kind !== 'instruction') continue;
    for (const operand of item.operands) {
      if (typeof operand === 'object' && operand.kind === 'address' && operand.slot !== undefined) place(operand.slot);
    }
  }
  const places = new Map<number, Place>();
  for (const file of ['gp', 'vec', 'mask'] as const) {
    const own = intervals.filter(({ register }) => register.file === file);
    const spillSlots: Slot[] = [];
    const spillSlot = () => {
      const bytes = file === 'vec' ? vectorBytes : 8;
      const slot: Slot = { bytes, align: bytes };
      spillSlots.push(slot);
      return slot;
    };
    let found = scan(own, pools[file], spillSlot);
    // The general scratch registers are never in the pool; others leave it when they are needed.
    if (spillSlots.length > 0 && file !== 'gp') {
      spillSlots.length = 0;
      found = scan(
        own,
        pools[file].filter((id) => !SCRATCH[file].includes(id)),
        spillSlot,
      );
    }
    for (const slot of spillSlots) place(slot);
    for (const [id, where] of found) places.set(id, where);
  }
  return { vectorBits, items: straight.items, places, offsets, frameBytes: Math.ceil(frameBytes / 64) * 64 };
}

const RSP = gp(4, 64);
const RBP_SAVED = [3, 5, 12, 13, 14, 15];

/** The machine registers that a function must give back as it found them. */
export const calleeSaved: readonly number[] = RBP_SAVED;

/** Writes allocated code into the assembler. */
export function assembleAllocated({ vectorBits, items, places, offsets }: Allocation, assembler: Assembler): void {
  const slotAddress = (slot: Slot, disp = 0) => ptr(RSP, (offsets.get(slot) ?? 0) + disp);
  const placeOf = (register: Register): Place => {
    if (register.id < 0) return fixedId(register);
    const place = places.get(register.id);
    if (place === undefined) throw new IngotError('DeviceFault', `virtual register ${register.id} was never written`);
    return place;
  };

  const address = (operand: Address, resolve: (register: Register) => number): Mem => {
    let mem: Mem;
    if (operand.label !== undefined) mem = rip(operand.label, operand.disp);
    else {
      const base = operand.base === undefined ? RSP : gp(resolve(operand.base), 64);
      const disp = operand.disp + (operand.slot === undefined ? 0 : (offsets.get(operand.slot) ?? 0));
      const { index } = operand;
      if (index === undefined) mem = ptr(base, disp);
      else {
        const id = resolve(index);
        mem = indexed(base, index.file === 'gp' ? gp(id, 64) : vec(id, operand.indexBits ?? 256), operand.scale, disp);
      }
    }
    if (operand.broadcast) mem = asm.broadcast(mem);
    if (operand.mask !== undefined) mem = asm.masked(mem, asm.k(resolve(operand.mask)));
    return operand.bits === 0 ? mem : sized(mem, operand.bits);
  };
  const machineRegister = (file: RegisterFile, id: number, bits: View['bits']): Exclude<Operand, Mem> => {
    if (file === 'mask') return asm.k(id);
    return file === 'gp' ? gp(id, bits as 64) : vec(id, bits as 128);
  };
  const written = (operand: MachineOperand, resolve: (register: Register) => number): Operand => {
    if (typeof operand !== 'object') return operand;
    if (operand.kind === 'address') return address(operand, resolve);
    if (operand.kind !== 'view') return operand;
    const { register, bits, mask, zeroing } = operand;
    const named = machineRegister(register.file, resolve(register), bits);
    if (mask === undefined || typeof named !== 'object' || named.kind !== 'vec') return named;
    return zeroing ? asm.zeroed(named, asm.k(resolve(mask))) : asm.masked(named, asm.k(resolve(mask)));
  };

  const write = (instruction: Instruction) => {
    const operands = instruction.operands.map((operand) => written(operand, placeOf as (register: Register) => number));
    if (!isSelfMove(instruction, operands)) assembler.emit(instruction.mnemonic, ...operands);
  };

  const writeSpilled = (instruction: Instruction, spilled: readonly Touch[]) => {
    const used = new Set<number>();
    for (const operand of instruction.operands) {
      if (typeof operand === 'object' && operand.kind === 'view' && operand.register.id < 0) {
        used.add(fixedId(operand.register));
      }
    }
    const loads: (readonly [Register, number])[] = [];
    const stores: (readonly [Register, number])[] = [];
    const scratch = new Map<number, number>();
    const resolve = (register: Register): number => {
      const place = placeOf(register);
      if (typeof place === 'number') return place;
      const known = scratch.get(register.id);
      if (known !== undefined) return known;
      throw new IngotError('DeviceFault', 'a spilled register has no scratch register');
    };
    // An operand that is only written may share the scratch register of one that is read.
    const reads = spilled.filter(({ reads }) => reads);
    const taken: Record<RegisterFile, number> = { gp: 0, vec: 0, mask: 0 };
    const candidates = { ...SCRATCH, gp: SCRATCH.gp.filter((id) => !used.has(id)) };
    for (const { register } of reads) {
      if (scratch.has(register.id)) continue;
      const id = candidates[register.file][taken[register.file]++];
      if (id === undefined)
        throw new IngotError('DeviceFault', `${instruction.mnemonic} has too many spilled operands`);
      scratch.set(register.id, id);
      loads.push([register, id]);
    }
    for (const { register, writes } of spilled) {
      if (!writes) continue;
      if (!scratch.has(register.id)) scratch.set(register.id, candidates[register.file][0] as number);
      stores.push([register, scratch.get(register.id) as number]);
    }
    const memory = (register: Register) => slotAddress(placeOf(register) as Slot);
    const whole = { gp: 'mov', vec: 'vmovups', mask: 'kmovq' } as const;
    const wholeRegister = ({ file }: Register, id: number) =>
      machineRegister(file, id, file === 'vec' ? vectorBits : 64);
    for (const [register, id] of loads) {
      assembler.emit(whole[register.file], wholeRegister(register, id), memory(register));
    }
    const operands = instruction.operands.map((operand) => written(operand, resolve));
    if (!isSelfMove(instruction, operands)) assembler.emit(instruction.mnemonic, ...operands);
    for (const [register, id] of stores) {
      assembler.emit(whole[register.file], memory(register), wholeRegister(register, id));
    }
  };

  const spills = [...places.values()].some((place) => typeof place !== 'number');
  for (const item of items) {
    if (item.kind === 'instruction') {
      const spilled: Touch[] = [];
      if (spills) {
        eachTouch(item, (register, reads, writes) => {
          if (typeof placeOf(register) !== 'number') spilled.push({ register, reads, writes });
        });
      }
      if (spilled.length === 0) write(item);
      else writeSpilled(item, spilled);
    } else if (item.kind === 'bind') assembler.bind(item.label);
    else assembler.comment(item.text);
  }
}

/** A move of a whole register to itself. */
function isSelfMove({ mnemonic }: Instruction, [to, from]: readonly Operand[]): boolean {
  if (mnemonic !== 'mov' && mnemonic !== 'vmovaps' && mnemonic !== 'kmovw') return false;
  if (typeof to !== 'object' || typeof from !== 'object') return false;
  if (to.kind === 'gp' && from.kind === 'gp') return to.id === from.id && to.bits === 64;
  if (to.kind === 'k' && from.kind === 'k') return to.id === from.id;
  return to.kind === 'vec' && from.kind === 'vec' && to.id === from.id && to.mask === undefined;
}
