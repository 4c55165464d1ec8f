/**
 * Loops whose bodies are long chains, in which an instruction waits for the one before, as those of the exponential. A processor goes
 * on with later turns meanwhile, as far as its registers reach: so turns may go side by side (as many as the schedule says), and constants stay
 * in registers.
 */
import type { Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import type { Label } from '../asm/operands.ts';
import { type Item, type Machine, type MachineOperand, type Register, type View, view } from './machine.ts';
import { laneBitsOf } from './memory.ts';
import type { Scope } from './scope.ts';

/** Those that work in lanes of 32 bits. In f64 halves go side by side already, and want all registers. */
const chains: ReadonlySet<string> = new Set(['exponential', 'exponential_minus_one', 'logistic', 'tanh']);

export function isChain(body: readonly Statement[]): boolean {
  for (const e of expressionsOf(body)) {
    if (e.kind === 'unary' && chains.has(e.op) && laneBitsOf(e.type) === 32) return true;
  }
  return false;
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
