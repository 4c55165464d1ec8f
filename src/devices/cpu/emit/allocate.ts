/**
 * Registers for virtual ones: linear scan over live intervals (Poletto and Sarkar, "Linear scan register allocation",
 * 1999), with the spill chosen by weight: uses, times ten for each loop around them. What is spilled lives in the stack frame and passes through
 * registers that are kept free for that only if there is a spill.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Assembler } from '../asm/assembler.ts';
import { gp, indexed, type Mem, type Operand, ptr, rip, sized, vec } from '../asm/operands.ts';
import {
  type Address,
  fixedId,
  type Instruction,
  type Item,
  type MachineOperand,
  type Register,
  type RegisterFile,
  type Slot,
} from './machine.ts';

/** Machine registers in the order in which they are given out. */
const POOLS: Readonly<Record<RegisterFile, readonly number[]>> = {
  gp: [8, 9, 10, 11, 6, 7, 3, 5, 12, 13, 14, 15],
  vec: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
};
/** What an instruction with spilled operands works in: as many as the most that one instruction reads. */
const SCRATCH: Readonly<Record<RegisterFile, readonly number[]>> = { gp: [1, 2, 0], vec: [15, 14, 13] };

interface Interval {
  readonly register: Register;
  start: number;
  end: number;
  weight: number;
  /** A register whose value it takes over by a move. */
  hint?: Register;
}

type Flat = Exclude<Item, { kind: 'block' }>;
interface Straight {
  readonly items: readonly Flat[];
  /** First and last position of each loop, inner ones first. */
  readonly loops: readonly (readonly [number, number])[];
  /** Loops around each item. */
  readonly depth: readonly number[];
}

function straighten(items: readonly Item[]): Straight {
  const flat: Flat[] = [];
  const loops: [number, number][] = [];
  const depths: number[] = [];
  const walk = (list: readonly Item[], depth: number) => {
    for (const item of list) {
      if (item.kind !== 'block') {
        flat.push(item);
        depths.push(depth);
        continue;
      }
      const start = flat.length;
      walk(item.items, item.loop ? depth + 1 : depth);
      if (item.loop) loops.push([start, flat.length - 1]);
    }
  };
  walk(items, 0);
  return { items: flat, loops, depth: depths };
}

interface Touch {
  readonly register: Register;
  readonly reads: boolean;
  readonly writes: boolean;
}

function touches({ operands, role }: Instruction): Touch[] {
  const found: Touch[] = [];
  operands.forEach((operand, index) => {
    if (typeof operand !== 'object') return;
    if (operand.kind === 'view') {
      const first = index === 0;
      const writes = (first && role !== 'read') || (role === 'gather' && index === operands.length - 1);
      found.push({ register: operand.register, reads: !(first && role === 'write'), writes });
    } else if (operand.kind === 'address') {
      for (const register of [operand.base, operand.index]) {
        if (register !== undefined) found.push({ register, reads: true, writes: false });
      }
    }
  });
  return found.filter(({ register }) => register.id >= 0);
}

/** Reads happen at even positions, writes at odd ones, so that a result may take the register of an operand that ends. */
function intervalsOf({ items, loops, depth }: Straight): Interval[] {
  const intervals = new Map<number, Interval>();
  items.forEach((item, index) => {
    if (item.kind !== 'instruction') return;
    for (const { register, reads, writes } of touches(item)) {
      const first = 2 * index + (reads ? 0 : 1);
      const last = 2 * index + (writes ? 1 : 0);
      let interval = intervals.get(register.id);
      if (interval === undefined) {
        interval = { register, start: first, end: last, weight: 0 };
        const source = item.operands[1];
        if (item.operands.length === 2 && /^v?mov/.test(item.mnemonic) && typeof source === 'object') {
          if (source.kind === 'view' && source.register.file === register.file) interval.hint = source.register;
        }
        intervals.set(register.id, interval);
      }
      interval.end = Math.max(interval.end, last);
      interval.weight += 10 ** Math.min(depth[index] as number, 6);
    }
  });
  // What comes into a loop and is used there lives until its last turn ends.
  for (const [start, end] of loops) {
    for (const interval of intervals.values()) {
      if (interval.start < 2 * start && interval.end >= 2 * start) interval.end = Math.max(interval.end, 2 * end + 1);
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
    const wanted = interval.hint === undefined ? undefined : places.get(interval.hint.id);
    const chosen = typeof wanted === 'number' && free.has(wanted) ? wanted : pool.find((id) => free.has(id));
    if (chosen !== undefined) {
      free.delete(chosen);
      places.set(interval.register.id, chosen);
      active.push(interval);
      continue;
    }
    const victim = active.reduce((least, other) => (other.weight < least.weight ? other : least), interval);
    if (victim !== interval) {
      places.set(interval.register.id, places.get(victim.register.id) as number);
      active = [...active.filter((other) => other !== victim), interval];
    }
    places.set(victim.register.id, spillSlot());
  }
  return places;
}

export interface Allocation {
  readonly items: readonly Flat[];
  readonly places: ReadonlyMap<number, Place>;
  readonly offsets: ReadonlyMap<Slot, number>;
  readonly frameBytes: number;
}

/** Chooses registers and lays out the stack frame. */
export function allocate(list: readonly Item[]): Allocation {
  const straight = straighten(list);
  const intervals = intervalsOf(straight);
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
  for (const file of ['gp', 'vec'] as const) {
    const own = intervals.filter(({ register }) => register.file === file);
    const spillSlots: Slot[] = [];
    const spillSlot = () => {
      const slot: Slot = file === 'gp' ? { bytes: 8, align: 8 } : { bytes: 32, align: 32 };
      spillSlots.push(slot);
      return slot;
    };
    let found = scan(own, POOLS[file], spillSlot);
    // The general scratch registers are never in the pool; vector ones leave it when they are needed.
    if (spillSlots.length > 0 && file === 'vec') {
      spillSlots.length = 0;
      found = scan(
        own,
        POOLS.vec.filter((id) => !SCRATCH.vec.includes(id)),
        spillSlot,
      );
    }
    for (const slot of spillSlots) place(slot);
    for (const [id, where] of found) places.set(id, where);
  }
  return { items: straight.items, places, offsets, frameBytes: Math.ceil(frameBytes / 32) * 32 };
}

const RSP = gp(4, 64);
const RBP_SAVED = [3, 5, 12, 13, 14, 15];

/** The machine registers that a function must give back as it found them. */
export const calleeSaved: readonly number[] = RBP_SAVED;

/** Writes allocated code into the assembler. */
export function assembleAllocated({ items, places, offsets }: Allocation, assembler: Assembler): void {
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
    return operand.bits === 0 ? mem : sized(mem, operand.bits);
  };
  const written = (operand: MachineOperand, resolve: (register: Register) => number): Operand => {
    if (typeof operand !== 'object') return operand;
    if (operand.kind === 'address') return address(operand, resolve);
    if (operand.kind !== 'view') return operand;
    const { register, bits } = operand;
    return register.file === 'gp' ? gp(resolve(register), bits as 64) : vec(resolve(register), bits as 128);
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
    const taken: Record<RegisterFile, number> = { gp: 0, vec: 0 };
    const candidates = { gp: SCRATCH.gp.filter((id) => !used.has(id)), vec: SCRATCH.vec };
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
    for (const [register, id] of loads) {
      if (register.file === 'gp') assembler.emit('mov', gp(id, 64), memory(register));
      else assembler.emit('vmovdqu', vec(id, 256), memory(register));
    }
    const operands = instruction.operands.map((operand) => written(operand, resolve));
    if (!isSelfMove(instruction, operands)) assembler.emit(instruction.mnemonic, ...operands);
    for (const [register, id] of stores) {
      if (register.file === 'gp') assembler.emit('mov', memory(register), gp(id, 64));
      else assembler.emit('vmovdqu', memory(register), vec(id, 256));
    }
  };

  const spills = [...places.values()].some((place) => typeof place !== 'number');
  for (const item of items) {
    if (item.kind === 'instruction') {
      const spilled = spills ? touches(item).filter(({ register }) => typeof placeOf(register) !== 'number') : [];
      if (spilled.length === 0) write(item);
      else writeSpilled(item, spilled);
    } else if (item.kind === 'bind') assembler.bind(item.label);
    else assembler.comment(item.text);
  }
}

/** A move of a whole register to itself. */
function isSelfMove({ mnemonic }: Instruction, [to, from]: readonly Operand[]): boolean {
  if (mnemonic !== 'mov' && mnemonic !== 'vmovaps') return false;
  if (typeof to !== 'object' || typeof from !== 'object') return false;
  if (to.kind === 'gp' && from.kind === 'gp') return to.id === from.id && to.bits === 64;
  return to.kind === 'vec' && from.kind === 'vec' && to.id === from.id;
}
