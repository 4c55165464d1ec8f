/**
 * The assembler for arm64: instructions, labels and constants in; bytes and a listing out. Every instruction has four bytes, so
 * nothing depends on how far a label is but whether it can be reached at all.
 */
import { IngotError } from '../../../../base/errors.ts';
import type { Code } from '../assembler.ts';
import { instructionLine, type ListingLine, listingText, padding, placedLines } from '../listing.ts';
import type { Label } from '../operands.ts';
import { type Encoded, encode, instructionText, type Mnemonic } from './forms.ts';
import type { Operand } from './operands.ts';

type Item =
  | { readonly kind: 'instruction'; readonly text: () => string; readonly encoded: Encoded }
  | { readonly kind: 'label'; readonly label: Label }
  | { readonly kind: 'align'; readonly to: number }
  | { readonly kind: 'comment'; readonly text: string }
  | { readonly kind: 'data'; readonly align: number; readonly label: Label; readonly bytes: Uint8Array };

const NOP = 0xd503201f;
const REACH = { rel26: 25, rel19: 18, rel14: 13, rel21: 20 } as const;

export class Arm64Assembler {
  readonly #items: Item[] = [];
  readonly #constants = new Map<string, Item & { kind: 'data' }>();
  #labels = 0;

  /** A new label, to be placed by `bind`. */
  label(name = `.L${this.#labels}`): Label {
    return { kind: 'label', id: this.#labels++, name };
  }

  bind(label: Label): void {
    this.#items.push({ kind: 'label', label });
  }

  /** A label placed here. */
  here(name?: string): Label {
    const label = this.label(name);
    this.bind(label);
    return label;
  }

  /** @throws IngotError 'InvalidArgument' when no form of it takes these operands. */
  emit(mnemonic: Mnemonic, ...operands: readonly Operand[]): void {
    const text = () => instructionText(mnemonic, operands);
    this.#items.push({ kind: 'instruction', text, encoded: encode(mnemonic, operands) });
  }

  /** Continues at the next multiple of `to`, a power of two, after no-operations. */
  align(to: number): void {
    this.#items.push({ kind: 'align', to });
  }

  comment(text: string): void {
    this.#items.push({ kind: 'comment', text });
  }

  /** The label of constant bytes, placed after the code; equal constants are kept once. */
  constant(bytes: Uint8Array, align: number): Label {
    const key = `${align}:${bytes.join()}`;
    let constant = this.#constants.get(key);
    if (constant === undefined) {
      constant = { kind: 'data', align, label: this.label(`.C${this.#constants.size}`), bytes };
      this.#constants.set(key, constant);
    }
    return constant.label;
  }

  /** Bytes here, at a multiple of `align`. */
  place(label: Label, bytes: Uint8Array, align: number): void {
    this.#items.push({ kind: 'data', align, label, bytes });
  }

  /** @throws IngotError 'InvalidArgument' for a label that is not bound, bound twice or out of reach. */
  assemble(): Code {
    const constants = [...this.#constants.values()].sort((one, two) => two.align - one.align);
    const items = [...this.#items, ...constants];
    const labels = new Map<number, number>();
    const starts: number[] = [];
    let offset = 0;
    const bind = (label: Label) => {
      if (labels.has(label.id)) throw new IngotError('InvalidArgument', `the label ${label.name} is bound twice`);
      labels.set(label.id, offset);
    };
    for (const item of items) {
      if (item.kind === 'data') offset += padding(offset, item.align);
      starts.push(offset);
      switch (item.kind) {
        case 'instruction':
          offset += 4;
          break;
        case 'label':
          bind(item.label);
          break;
        case 'align':
          offset += padding(offset, item.to);
          break;
        case 'data':
          bind(item.label);
          offset += item.bytes.length;
          break;
        case 'comment':
          break;
        default:
          item satisfies never;
      }
    }
    const bytes = new Uint8Array(offset);
    const view = new DataView(bytes.buffer);
    const offsetOf = (id: number, name = '') => {
      const place = labels.get(id);
      if (place === undefined) throw new IngotError('InvalidArgument', `the label ${name} is used but never bound`);
      return place;
    };
    let alignment = 16;
    items.forEach((item, index) => {
      const start = starts[index] as number;
      if (item.kind === 'instruction') view.setUint32(start, fixed(item.encoded, start, offsetOf), true);
      else if (item.kind === 'data') {
        bytes.set(item.bytes, start);
        alignment = Math.max(alignment, item.align);
      } else if (item.kind === 'align') {
        for (let at = start; at < start + padding(start, item.to); at += 4) view.setUint32(at, NOP, true);
        alignment = Math.max(alignment, item.to);
      }
    });
    return {
      bytes,
      alignment,
      offsetOf: ({ id, name }) => offsetOf(id, name),
      lines: () => items.flatMap((item, index) => linesOf(item, starts[index] as number, bytes)),
      listing() {
        return listingText(this.lines(), 4, 12);
      },
    };
  }
}

/** An instruction with the distance of its label. */
function fixed({ word, fix }: Encoded, start: number, offsetOf: (id: number) => number): number {
  if (fix === undefined) return word;
  const bytes = offsetOf(fix.label) - start;
  const steps = fix.field === 'rel21' ? bytes : bytes / 4;
  const reach = 2 ** REACH[fix.field];
  if (!Number.isInteger(steps) || steps < -reach || steps >= reach) {
    throw new IngotError('InvalidArgument', `a label ${bytes} bytes away is out of reach`);
  }
  switch (fix.field) {
    case 'rel26':
      return word + (steps & 0x3ffffff);
    case 'rel19':
      return word + (steps & 0x7ffff) * 32;
    case 'rel14':
      return word + (steps & 0x3fff) * 32;
    case 'rel21':
      return word + (steps & 3) * 2 ** 29 + ((steps >> 2) & 0x7ffff) * 32;
    default:
      return fix.field satisfies never;
  }
}

function linesOf(item: Item, offset: number, code: Uint8Array): ListingLine[] {
  if (item.kind === 'instruction') return [instructionLine(item.text(), offset, code, 4)];
  return placedLines(item, offset, code);
}
