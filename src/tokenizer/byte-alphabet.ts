/**
 * GPT-2's spelling of bytes as printable characters (`bytes_to_unicode` in its `encoder.py`): vocabularies of byte-level
 * BPE are written in it. Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up.
 */

/** By UTF-16 code unit; -1 for what stands for none. */
const byteOfUnit = new Int16Array(0x200).fill(-1);
const characterOfByte: string[] = [];

for (let byte = 0, other = 0x100; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  const character = String.fromCharCode(printable ? byte : other++);
  characterOfByte.push(character);
  byteOfUnit[character.charCodeAt(0)] = byte;
}

export function spellBytes(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += characterOfByte[byte] ?? '';
  return text;
}

/** The bytes that a spelling stands for, or nothing if a character is outside the alphabet. */
export function readSpelling(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfUnit[text.charCodeAt(i)] ?? -1;
    if (byte < 0) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
