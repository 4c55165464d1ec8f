/**
 * Code for x86-64 as code for arm64. Kernels, the team and exchanges are written once, in instructions of x86-64 up to AVX2 over its
 * registers; each of those has a row in integers.ts, lanes.ts, vectors.ts or conversions.ts, which says what does the same on arm64, to the last
 * bit. What arm64 does better is a row that looks at what the processor has (`Extensions`), or instructions that a kernel asks for by
 * a name that x86-64 has too, like VPDPBUSD for USDOT.
 */
import { IngotError } from '../../../base/errors.ts';
import { type Assembler, type Code, chosen, type Item } from '../asm/assembler.ts';
import { formatInstruction } from '../asm/print.ts';
import { Context, type Extensions, isKept, NoRegister, type Usage } from './context.ts';
import { enter, leave } from './frame.ts';
import { writeInteger } from './integers.ts';
import { writeVector } from './vectors.ts';

export interface TranslationOptions {
  readonly extensions: Extensions;
  /** Keep the order of all loads and stores that x86-64 keeps: for code that other threads talk with. */
  readonly ordered?: boolean;
}

/** @throws IngotError 'UnsupportedOp' for an instruction that there is no row for. */
export function translate(assembler: Assembler, { extensions, ordered = false }: TranslationOptions): Code {
  const { items } = assembler;
  const usage = usageOf(items);
  // Which registers are written is known when everything is.
  for (let homes = 0; ; homes++) {
    const homed = usage.byUse.slice(0, homes);
    const attempt = (keeps: boolean) => {
      const context = new Context(extensions, ordered, { ...usage, homed });
      write(context, items, keeps);
      return context;
    };
    try {
      const first = attempt(false);
      const keeps = [...first.touched].some(isKept);
      const context = keeps ? attempt(true) : first;
      const code = context.a.assemble();
      return { ...code, offsetOf: (label) => code.offsetOf(context.label(label)) };
    } catch (error) {
      if (!(error instanceof NoRegister) || homes === usage.byUse.length) throw error;
    }
  }
}

/** Which ymm registers code names, the least used first. */
function usageOf(items: readonly Item[]): Omit<Usage, 'homed'> & { readonly byUse: readonly number[] } {
  const wide = new Set<number>();
  const uses = new Map<number, number>();
  for (const item of items) {
    if (item.kind !== 'instruction' && item.kind !== 'foreign') continue;
    for (const operand of item.operands) {
      if (typeof operand !== 'object') continue;
      const vec =
        operand.kind === 'vec'
          ? operand
          : operand.kind === 'mem' && operand.index?.kind === 'vec'
            ? operand.index
            : undefined;
      if (vec === undefined) continue;
      uses.set(vec.id, (uses.get(vec.id) ?? 0) + 1);
      if (vec.bits > 128) wide.add(vec.id);
    }
  }
  const byUse = [...uses].sort(([, one], [, two]) => one - two).map(([id]) => id);
  return { named: new Set(uses.keys()), wide, byUse };
}

const SETS_FLAGS = /^(add|sub|and|or|xor|cmp|test|inc|dec|neg|shl|shr|sar|bsf|lock (cmpxchg|xadd|inc|dec)|imul|call)$/;
const LOOKS_AT_FLAGS = /^(j(?!mp)|cmov|set)/;

/** Whether what stands behind an instruction looks at the flags before they change. */
function flagsUsed(items: readonly Item[], from: number): boolean {
  for (let i = from + 1; i < items.length; i++) {
    const item = items[i] as Item;
    if (item.kind !== 'instruction' && item.kind !== 'jump') continue;
    const { mnemonic } = chosen(item).form;
    if (LOOKS_AT_FLAGS.test(mnemonic)) return true;
    if (SETS_FLAGS.test(mnemonic) || mnemonic === 'jmp' || mnemonic === 'ret') return false;
  }
  return false;
}

function write(t: Context, items: readonly Item[], keeps: boolean): void {
  const homes = t.usage.homed.length;
  const first = items.findIndex(({ kind }) => kind !== 'comment');
  const begins = items[first];
  if (begins?.kind !== 'label' || !begins.entry) enter(t, homes, keeps);
  items.forEach((item, index) => {
    switch (item.kind) {
      case 'label':
        t.bind(t.label(item.label));
        t.flags = undefined;
        t.known.clear();
        if (item.entry) enter(t, homes, keeps);
        return;
      case 'align':
        t.a.align(item.to);
        return;
      case 'comment':
        t.a.comment(item.text);
        return;
      case 'data':
        t.a.place(t.label(item.label), item.bytes, item.align);
        return;
      case 'foreign':
        t.instruction(() => {
          writeVector(t, item.mnemonic, item.operands);
        });
        return;
      case 'instruction':
      case 'jump': {
        const { form, operands } = chosen(item);
        t.instruction(() => {
          if (form.mnemonic === 'ret') leave(t, homes, keeps);
          else if (!writeOne(t, form.mnemonic, operands, () => flagsUsed(items, index))) {
            throw new IngotError('UnsupportedOp', `arm64 code has nothing for ${formatInstruction(form, operands)}`, {
              device: 'cpu',
            });
          }
        });
        return;
      }
      default:
        item satisfies never;
    }
  });
}

function writeOne(
  t: Context,
  mnemonic: string,
  operands: Parameters<typeof writeVector>[2],
  used: () => boolean,
): boolean {
  if (mnemonic.startsWith('v') || mnemonic.startsWith('{'))
    return writeVector(t, mnemonic, operands) || writeInteger(t, { mnemonic, operands, flagsUsed: false });
  const [first] = operands;
  const changed = typeof first === 'object' && first.kind === 'gp' ? first.id : undefined;
  // Where a row does not say what flags are then, whoever looks at them is refused.
  if (SETS_FLAGS.test(mnemonic)) t.flags = undefined;
  const done = writeInteger(t, { mnemonic, operands, flagsUsed: SETS_FLAGS.test(mnemonic) && used() });
  // A move of a constant has said what its register holds; everything else that writes one makes it unknown.
  if (changed !== undefined && !(/^mov(abs)?$/.test(mnemonic) && typeof operands[1] !== 'object'))
    t.known.delete(changed);
  if (/^(div|idiv|cqo|call|lock|xchg|rep|rdtsc)/.test(mnemonic)) t.known.clear();
  return done;
}
