/**
 * Loops whose bodies are long chains, in which an instruction waits for the one before, as those of the exponential. A processor goes
 * on with later turns meanwhile, as far as its registers reach: so two turns go side by side, and constants stay in registers. Nothing
 * is read from memory meanwhile, if that is a row which an earlier loop has brought into the cache: so they ask for the next row.
 */
import type { Axis, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import type { Label } from '../asm/operands.ts';
import { type Item, type Machine, type MachineOperand, type Register, sizedAt, type View, view } from './machine.ts';
import { laneBitsOf } from './memory.ts';
import { type NextLoad, nextLoads } from './next-loads.ts';
import type { Level, Scope } from './scope.ts';

/** Those that work in lanes of 32 bits. In f64 halves go side by side already, and want all registers. */
const chains: ReadonlySet<string> = new Set(['exponential', 'exponential_minus_one', 'logistic', 'tanh']);

/** A longer row would drive this one out of a second-level cache. */
const ROW_BYTES = 2 ** 17;

export interface Chain {
  readonly next: readonly NextLoad[];
}

/** Of a loop over `axis` in the loop of a level; undefined where its body is no chain. */
export function chainOf(axis: Axis, body: readonly Statement[], around: Level): Chain | undefined {
  for (const e of expressionsOf(body)) {
    if (e.kind !== 'unary' || !chains.has(e.op) || laneBitsOf(e.type) !== 32) continue;
    const next = nextLoads(axis, [...around.counters.keys()], body);
    return { next: next.filter(({ bytes }) => bytes >= LINE && bytes <= ROW_BYTES) };
  }
  return undefined;
}

const LINE = 64;

/** Asks for what a turn of so many lanes will read then. */
export function askForNext(m: Machine, scope: Scope, { next }: Chain, lanes: number): void {
  for (const { buffer, index } of next) {
    const size = elementBytes(buffer.element);
    for (let lane = 0; lane < lanes; lane += LINE / size) {
      const at = scope.address(buffer, { ...index, constant: index.constant + lane });
      m.emit('prefetcht1', sizedAt(at, 8));
    }
  }
}

/** Constants that a loop keeps in registers. */
const KEPT = 5;

/** Writes bodies that do not depend on each other into the innermost loop, an instruction of each in turn where they go straight on. */
export function writeChains(m: Machine, scope: Scope, writes: readonly (() => void)[]): void {
  const lists = writes.map((write) => {
    const items: Item[] = [];
    m.into(items, write);
    return items;
  });
  const all = lists.flat();
  const [first = []] = lists;
  const isStraight = all.every(({ kind }) => kind === 'instruction' || kind === 'comment');
  if (!isStraight || lists.some(({ length }) => length !== first.length)) {
    m.block().push(...all);
    return;
  }
  const constants = new Set(all.map((item) => constantOf(item)?.label));
  const kept = [...constants].filter((label) => label !== undefined).slice(0, KEPT);
  const changed = new Set(all.flatMap((item) => changedBy(item) ?? []));
  /** Of what is loaded once, before the loop. */
  const outside = new Map<Register, Register>();
  const renamed = (item: Item): Item =>
    item.kind !== 'instruction'
      ? item
      : { ...item, operands: item.operands.map((operand) => rename(operand, outside)) };
  for (const [i] of first.entries()) {
    for (const list of lists) {
      const item = list[i] as Item;
      const constant = constantOf(item);
      if (constant === undefined || !kept.includes(constant.label)) {
        m.block().push(renamed(item));
        continue;
      }
      const register = beforeLoop(m, scope, constant);
      if (changed.has(constant.to.register)) m.emit('vmovaps', constant.to, view(register, constant.to.bits));
      else outside.set(constant.to.register, register);
    }
  }
}

/** The register that an item changes, other than by loading a constant into it. */
function changedBy(item: Item): Register | undefined {
  if (item.kind !== 'instruction' || item.role === 'read' || constantOf(item) !== undefined) return undefined;
  const [to] = item.operands;
  return typeof to === 'object' && to.kind === 'view' ? to.register : undefined;
}

function rename(operand: MachineOperand, names: ReadonlyMap<Register, Register>): MachineOperand {
  if (typeof operand !== 'object' || operand.kind !== 'view') return operand;
  return { ...operand, register: names.get(operand.register) ?? operand.register };
}

interface Constant {
  readonly to: View;
  readonly label: Label;
  readonly from: Extract<Item, { kind: 'instruction' }>['operands'][number];
}

/** What an item loads a vector of. */
function constantOf(item: Item): Constant | undefined {
  if (item.kind !== 'instruction' || item.mnemonic !== 'vmovups') return undefined;
  const [to, from] = item.operands;
  if (typeof to !== 'object' || to.kind !== 'view' || to.mask !== undefined) return undefined;
  if (typeof from !== 'object' || from.kind !== 'address' || from.label === undefined) return undefined;
  return { to, label: from.label, from };
}

const beforeLoop = (m: Machine, scope: Scope, { to, label, from }: Constant): Register =>
  scope.at(scope.level.depth - 1, `constant ${label.name} ${to.bits}`, () => {
    const register = m.register('vec');
    m.emit('vmovups', view(register, to.bits), from);
    return register;
  });
