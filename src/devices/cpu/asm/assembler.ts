/**
 * The assembler: instructions, labels and constants in; bytes and a listing out. Jumps to labels take their short form where the
 * target turns out to be near enough.
 */
import { IngotError } from '../../../base/errors.ts';
import { CodeBytes, encode, type LabelFix } from './encode.ts';
import type { Form } from './forms.ts';
import { instructionLine, type ListingLine, listingText, padding, placedLines } from './listing.ts';
import { findForm, formsOf } from './match.ts';
import type { Label, Operand, Vec } from './operands.ts';
import { formatInstruction, operandText } from './print.ts';
import type { Mnemonic } from './tables.ts';

/** Assembled code; constants follow the instructions. Runs at any address that is a multiple of `alignment`. */
export interface Code {
  readonly bytes: Uint8Array;
  readonly alignment: number;
  /** @throws IngotError 'InvalidArgument' for a label of another assembler. */
  offsetOf(label: Label): number;
  lines(): ListingLine[];
  /** Offset, bytes and text of every instruction. */
  listing(): string;
}

export interface Instruction {
  readonly kind: 'instruction';
  readonly form: Form;
  readonly operands: readonly Operand[];
  /** Its bytes among those that the assembler has written. */
  readonly start: number;
  readonly length: number;
  readonly fix: LabelFix | undefined;
}
/** A jump to a label, short until its target is known to be far. */
interface Jump {
  readonly kind: 'jump';
  readonly short: Instruction;
  readonly near: Instruction;
  readonly target: Label;
  isNear: boolean;
}
/** An instruction that another architecture has and x86-64 lacks, where it is UD2: code with it is for a target that has it. */
interface Foreign {
  readonly kind: 'foreign';
  readonly mnemonic: ForeignMnemonic;
  readonly operands: readonly Vec[];
}
/**
 * Products of arm64. `smmla`, of matrices: of each 128 bits, to[i][j] += the sum of products of 8 bytes i of the first and j of the
 * second. `bfmlalb` and `bfmlalt`: of each 32 bits, f32 to += the product of the lower, or of the upper bf16, by one rounding.
 */
type ForeignMnemonic = 'smmla' | 'bfmlalb' | 'bfmlalt';
/** What is assembled, in order. `entry`: a function begins here, which is called by the convention of the system. */
export type Item =
  | Instruction
  | Jump
  | Foreign
  | { readonly kind: 'label'; readonly label: Label; readonly entry?: true }
  | { readonly kind: 'align'; readonly to: number }
  | { readonly kind: 'comment'; readonly text: string }
  | { readonly kind: 'data'; readonly align: number; readonly label: Label; readonly bytes: Uint8Array };

/** The recommended no-operations of 1 to 9 bytes (SDM, NOP). */
const NOPS: readonly (readonly number[])[] = [
  [0x90],
  [0x66, 0x90],
  [0x0f, 0x1f, 0x00],
  [0x0f, 0x1f, 0x40, 0x00],
  [0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
  [0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

const UD2 = [0x0f, 0x0b];

export class Assembler {
  readonly #items: Item[] = [];
  readonly #constants = new Map<string, Item & { kind: 'data' }>();
  readonly #labels: Label[] = [];
  readonly #bound = new Set<Label>();
  readonly #bytes = new CodeBytes();

  /** A new label, to be placed by `bind`. */
  label(name = `.L${this.#labels.length}`): Label {
    const label: Label = { kind: 'label', id: this.#labels.length, name };
    this.#labels.push(label);
    return label;
  }

  /** Places a label here. @throws IngotError 'InvalidArgument' when it has a place already or belongs elsewhere. */
  bind(label: Label): void {
    this.#own(label);
    if (this.#bound.has(label)) throw new IngotError('InvalidArgument', `the label ${label.name} is bound twice`);
    this.#bound.add(label);
    this.#items.push({ kind: 'label', label });
  }

  /** A label placed here. */
  here(name?: string): Label {
    const label = this.label(name);
    this.bind(label);
    return label;
  }

  /** A label placed here, where a function begins. */
  entry(name?: string): Label {
    const label = this.label(name);
    this.#bound.add(label);
    this.#items.push({ kind: 'label', label, entry: true });
    return label;
  }

  /** What has been written so far, and behind it the constants. */
  get items(): readonly Item[] {
    // Constants of the widest alignment first, so that little is lost between them.
    return [...this.#items, ...[...this.#constants.values()].sort((one, two) => two.align - one.align)];
  }

  /**
   * Appends an instruction, its operands in the order of Intel syntax.
   * @throws IngotError 'InvalidArgument' when no form of it takes these operands.
   */
  emit(mnemonic: Mnemonic, ...operands: readonly Operand[]): void {
    for (const operand of operands) this.#check(operand);
    const form = findForm(mnemonic, operands);
    const item = this.#encoded(form, operands);
    const target = operands[0];
    if (form.slots[0]?.rel === 8 && typeof target === 'object' && target.kind === 'label') {
      const nearForm = formsOf(mnemonic).find((other) => other.slots[0]?.rel === 32);
      if (nearForm === undefined) throw new IngotError('InvalidArgument', `${mnemonic} has no form for a far target`);
      this.#items.push({ kind: 'jump', short: item, near: this.#encoded(nearForm, operands), target, isNear: false });
    } else {
      this.#items.push(item);
    }
  }

  #encoded(form: Form, operands: readonly Operand[]): Instruction {
    const start = this.#bytes.length;
    const fix = encode(form, operands, this.#bytes);
    return { kind: 'instruction', form, operands, start, length: this.#bytes.length - start, fix };
  }

  /** Appends all that another has written, a function that returns at its end alone: what follows goes on there. */
  include(other: Assembler): void {
    const labels = new Map<Label, Label>();
    const own = (label: Label): Label => {
      const known = labels.get(label) ?? this.label();
      labels.set(label, known);
      return known;
    };
    const items = other.items;
    for (const item of items) {
      if (item.kind !== 'data') continue;
      labels.set(item.label, this.constant(item.bytes, item.align));
    }
    const returns = items.filter((item) => item.kind === 'instruction' && item.form.mnemonic === 'ret');
    const code = items.filter(({ kind }) => kind !== 'data');
    if (returns.length !== 1 || code.at(-1) !== returns[0]) {
      throw new IngotError('InvalidArgument', 'what is included returns at its end, and nowhere else');
    }
    for (const item of code) {
      switch (item.kind) {
        case 'instruction': {
          if (item === returns[0]) break;
          const operands = item.operands.map((operand) => renamed(operand, own));
          this.#items.push(this.#encoded(item.form, operands));
          break;
        }
        case 'jump':
          this.#items.push({
            kind: 'jump',
            short: this.#encoded(item.short.form, [own(item.target)]),
            near: this.#encoded(item.near.form, [own(item.target)]),
            target: own(item.target),
            isNear: false,
          });
          break;
        case 'label':
          this.bind(own(item.label));
          break;
        case 'foreign':
        case 'align':
        case 'comment':
          this.#items.push(item);
          break;
        case 'data':
          break;
        default:
          item satisfies never;
      }
    }
  }

  /** Appends an instruction that x86-64 lacks. */
  emitForeign(mnemonic: ForeignMnemonic, ...operands: readonly Vec[]): void {
    this.#items.push({ kind: 'foreign', mnemonic, operands });
  }

  /** Continues at the next multiple of `to`, a power of two, after no-operations. */
  align(to: number): void {
    this.#items.push({ kind: 'align', to: checkAlignment(to) });
  }

  /** A line of the listing that is no instruction: the loop or the value that the next ones come from. */
  comment(text: string): void {
    this.#items.push({ kind: 'comment', text });
  }

  /**
   * The label of constant bytes, placed after the code at a multiple of `align`; equal constants are kept once.
   */
  constant(data: ArrayBufferView, align = 0): Label {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    const natural = Math.min(64, 2 ** Math.ceil(Math.log2(Math.max(1, bytes.length))));
    const alignment = checkAlignment(align === 0 ? natural : align);
    const key = `${alignment}:${bytes.join()}`;
    let constant = this.#constants.get(key);
    if (constant === undefined) {
      constant = { kind: 'data', align: alignment, label: this.label(`.C${this.#constants.size}`), bytes };
      this.#bound.add(constant.label);
      this.#constants.set(key, constant);
    }
    return constant.label;
  }

  /** @throws IngotError 'InvalidArgument' for a label that was used but never bound. */
  assemble(): Code {
    return new AssembledCode(this.items, this.#bytes, this.#labels.length);
  }

  #own(label: Label): void {
    if (this.#labels[label.id] !== label) {
      throw new IngotError('InvalidArgument', `the label ${label.name} belongs to another assembler`);
    }
  }

  #check(operand: Operand): void {
    if (typeof operand !== 'object') return;
    if (operand.kind === 'label') this.#own(operand);
    if (operand.kind === 'mem' && operand.label !== undefined) this.#own(operand.label);
  }
}

/** An operand with the labels of another assembler. */
function renamed(operand: Operand, own: (label: Label) => Label): Operand {
  if (typeof operand !== 'object') return operand;
  if (operand.kind === 'label') return own(operand);
  return operand.kind === 'mem' && operand.label !== undefined ? { ...operand, label: own(operand.label) } : operand;
}

function checkAlignment(to: number): number {
  if (!Number.isInteger(Math.log2(to)) || to > 4096) {
    throw new IngotError('InvalidArgument', `alignment is a power of two up to 4096, not ${to}`);
  }
  return to;
}

/** The instruction that an item is. */
export const chosen = (item: Instruction | Jump) =>
  item.kind === 'jump' ? (item.isNear ? item.near : item.short) : item;

class AssembledCode implements Code {
  readonly bytes: Uint8Array;
  readonly alignment: number;
  readonly #items: readonly Item[];
  readonly #written: CodeBytes;
  readonly #starts: Int32Array;
  readonly #labels: number[];

  constructor(items: readonly Item[], written: CodeBytes, labels: number) {
    this.#items = items;
    this.#written = written;
    this.#starts = new Int32Array(items.length);
    this.#labels = new Array(labels).fill(-1);
    this.alignment = items.reduce(
      (most, item) => Math.max(most, item.kind === 'align' ? item.to : item.kind === 'data' ? item.align : 1),
      16,
    );
    // Jumps only ever grow, so this ends; each round moves what lies behind a jump that grew.
    let size = this.#layOut();
    while (this.#growJumps()) size = this.#layOut();
    this.bytes = new Uint8Array(size);
    this.#write();
  }

  offsetOf(label: Label): number {
    const offset = this.#labels[label.id] ?? -1;
    if (offset < 0) throw new IngotError('InvalidArgument', `the label ${label.name} is used but never bound`);
    return offset;
  }

  #layOut(): number {
    let offset = 0;
    this.#items.forEach((item, index) => {
      this.#starts[index] = offset;
      switch (item.kind) {
        case 'instruction':
        case 'jump':
          offset += chosen(item).length;
          break;
        case 'foreign':
          offset += UD2.length;
          break;
        case 'label':
          this.#labels[item.label.id] = offset;
          break;
        case 'align':
          offset += padding(offset, item.to);
          break;
        case 'data':
          offset += padding(offset, item.align);
          this.#starts[index] = offset;
          this.#labels[item.label.id] = offset;
          offset += item.bytes.length;
          break;
        case 'comment':
          break;
        default:
          item satisfies never;
      }
    });
    return offset;
  }

  #growJumps(): boolean {
    let grew = false;
    this.#items.forEach((item, index) => {
      if (item.kind !== 'jump' || item.isNear) return;
      const distance = this.offsetOf(item.target) - (this.#starts[index] + item.short.length);
      if (distance < -128 || distance > 127) {
        item.isNear = true;
        grew = true;
      }
    });
    return grew;
  }

  #write(): void {
    const view = new DataView(this.bytes.buffer);
    this.#items.forEach((item, index) => {
      const start = this.#starts[index];
      if (item.kind === 'align') {
        let left = padding(start, item.to);
        while (left > 0) {
          const nop = NOPS[Math.min(left, NOPS.length) - 1];
          this.bytes.set(nop, start + padding(start, item.to) - left);
          left -= nop.length;
        }
      } else if (item.kind === 'data') {
        this.bytes.set(item.bytes, start);
      } else if (item.kind === 'foreign') {
        this.bytes.set(UD2, start);
      } else if (item.kind === 'instruction' || item.kind === 'jump') {
        const { start: from, length, fix } = chosen(item);
        this.#written.copy(from, length, this.bytes, start);
        if (fix !== undefined) {
          const distance = this.offsetOf(fix.label) + fix.addend - (start + length);
          if (item.kind === 'jump' && !item.isNear) view.setInt8(start + fix.at, distance);
          else view.setInt32(start + fix.at, distance, true);
        }
      }
    });
  }

  lines(): ListingLine[] {
    return this.#items.flatMap((item, index): ListingLine[] => {
      const offset = this.#starts[index];
      switch (item.kind) {
        case 'instruction':
        case 'jump': {
          const { form, operands, length } = chosen(item);
          return [instructionLine(formatInstruction(form, operands), offset, this.bytes, length)];
        }
        case 'foreign': {
          const text = `${item.mnemonic} ${item.operands.map((each) => operandText(each)).join(', ')}`;
          return [instructionLine(text, offset, this.bytes, UD2.length)];
        }
        default:
          return placedLines(item, offset, this.bytes);
      }
    });
  }

  listing(): string {
    return listingText(this.lines(), 16, 32);
  }
}
