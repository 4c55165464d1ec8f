/** Assembled code as lines of text, the same for every architecture. */

/** One line of a listing: the text of an instruction, a label or a comment, and the bytes it became. */
export interface ListingLine {
  readonly kind: 'instruction' | 'label' | 'comment' | 'padding' | 'data';
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** What is placed in code besides instructions. */
export type Placed =
  | { readonly kind: 'label'; readonly label: { readonly name: string } }
  | { readonly kind: 'align'; readonly to: number }
  | { readonly kind: 'comment'; readonly text: string }
  | { readonly kind: 'data'; readonly label: { readonly name: string }; readonly bytes: Uint8Array };

/** Bytes from `offset` to the next multiple of `to`. */
export const padding = (offset: number, to: number): number => (to - (offset % to)) % to;

/** The line of an instruction of `length` bytes. */
export function instructionLine(text: string, offset: number, code: Uint8Array, length: number): ListingLine {
  return { kind: 'instruction', offset, bytes: code.subarray(offset, offset + length), text };
}

export function placedLines(item: Placed, offset: number, code: Uint8Array): ListingLine[] {
  const line = (kind: ListingLine['kind'], length: number, text: string): ListingLine[] => [
    { kind, offset, bytes: code.subarray(offset, offset + length), text },
  ];
  switch (item.kind) {
    case 'label':
      return line('label', 0, `${item.label.name}:`);
    case 'comment':
      return line('comment', 0, `# ${item.text}`);
    case 'data':
      return line('data', item.bytes.length, `${item.label.name}: ${item.bytes.length} bytes`);
    case 'align': {
      const length = padding(offset, item.to);
      return length === 0 ? [] : line('padding', length, `nop (to a multiple of ${item.to})`);
    }
    default:
      return item satisfies never;
  }
}

/** Offset, bytes and text of every line; of long ones the first `most` bytes, in columns of `width`. */
export function listingText(lines: readonly ListingLine[], most: number, width: number): string {
  return lines
    .map(({ kind, offset, bytes, text }) => {
      if (kind === 'label' || kind === 'comment') return text;
      const hex = Array.from(bytes.subarray(0, most), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
      return `${offset.toString(16).padStart(6)}  ${hex.padEnd(width)} ${text}`;
    })
    .join('\n');
}
