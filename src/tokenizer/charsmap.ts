/**
 * SentencePiece's rewriting of characters ("precompiled charsmap", `normalizer.cc` of google/sentencepiece): a double array of
 * UTF-8 beginnings (Darts-clone) and the texts that stand for them. sentencepiece and llama.cpp replace the longest beginning
 * at each position; huggingface/tokenizers (`precompiled.rs`, spm_precompiled) asks for whole graphemes and then for characters,
 * and takes the shortest beginning.
 */
import { IngotError } from '../base/errors.ts';

const utf8 = new TextEncoder();
const MOST_KNOWN = 1 << 14;
const WINDOW = 64;
/** Where every character is a grapheme, but for CR LF. */
const SIMPLE = 0x300;

export class Charsmap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #known = new Map<string, string | undefined>();
  /** What characters below `SIMPLE` become, as far as they were asked for: most text is of these. */
  readonly #single: string[] = [];
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

  /** @throws IngotError 'InvalidFile' if a length passes the end. */
  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length < 4 ? -1 : view.getUint32(0, true);
    if (length < 0 || length % 4 !== 0 || length > bytes.length - 4) {
      throw new IngotError('InvalidFile', 'the precompiled charsmap is damaged: its table passes the end');
    }
    this.#units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#texts = bytes.subarray(4 + length);
  }

  /** As sentencepiece does. */
  normalize(text: string): string {
    const bytes = utf8.encode(text);
    const out: Uint8Array[] = [];
    let done = 0;
    for (let at = 0; at < bytes.length; ) {
      const [length, value] = this.#prefix(bytes, at, 'longest');
      if (length > 0) {
        out.push(bytes.subarray(done, at), this.#replacement(value));
        done = at + length;
        at = done;
      } else {
        do at++;
        while (((bytes[at] ?? 0) & 0xc0) === 0x80);
      }
    }
    if (out.length === 0) return text;
    out.push(bytes.subarray(done));
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(concatenated(out));
  }

  /** As huggingface/tokenizers does. */
  normalizeGraphemes(text: string): string {
    let out = '';
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const start = at++;
      if (this.#isAlone(text, start)) {
        const letter = text.charAt(start);
        this.#single[letter.charCodeAt(0)] ??= this.#transform(letter) ?? letter;
        const made = this.#single[letter.charCodeAt(0)] ?? letter;
        if (made === letter) continue;
        out += text.slice(done, start) + made;
      } else {
        while (at < text.length && !this.#isAlone(text, at)) at++;
        out += text.slice(done, start);
        for (const grapheme of this.#split(text.slice(start, at))) out += this.#grapheme(grapheme);
      }
      done = at;
    }
    return out + text.slice(done);
  }

  /** A character that is a grapheme whatever stands beside it. */
  #isAlone(text: string, at: number): boolean {
    const code = text.charCodeAt(at);
    if (code >= SIMPLE || text.charCodeAt(at + 1) >= SIMPLE) return false;
    return code === 0x0d ? text.charCodeAt(at + 1) !== 0x0a : code !== 0x0a || text.charCodeAt(at - 1) !== 0x0d;
  }

  /** Graphemes, by windows: the engine's segmenter takes time quadratic in its text. */
  *#split(text: string): Generator<string> {
    let window = WINDOW;
    for (let at = 0; at < text.length; ) {
      const part = text.slice(at, at + window);
      const graphemes = Array.from(this.#graphemes.segment(part), ({ segment }) => segment);
      // The last one may go on behind the window.
      if (at + window < text.length) graphemes.pop();
      yield* graphemes;
      const length = graphemes.reduce((sum, grapheme) => sum + grapheme.length, 0);
      at += length;
      window = length === 0 ? 2 * window : WINDOW;
    }
  }

  #grapheme(grapheme: string): string {
    // Twelve characters are six bytes at least.
    const whole = grapheme.length < 6 && utf8.encode(grapheme).length < 6 ? this.#transform(grapheme) : undefined;
    if (whole !== undefined) return whole;
    let out = '';
    for (const letter of grapheme) out += this.#transform(letter) ?? letter;
    return out;
  }

  #transform(text: string): string | undefined {
    if (this.#known.has(text)) return this.#known.get(text);
    const [length, value] = this.#prefix(utf8.encode(text), 0, 'shortest');
    const found =
      length === 0 ? undefined : new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.#replacement(value));
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(text, found);
    return found;
  }

  /** Length of a beginning that is in the table, and what it stands for; length 0 if there is none. */
  #prefix(bytes: Uint8Array, start: number, which: 'shortest' | 'longest'): readonly [length: number, value: number] {
    const units = this.#units;
    let found: readonly [number, number] = [0, 0];
    let node = offsetOf(units[0] ?? 0);
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === 0) break;
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || (unit & 0x8000_00ff) !== byte) break;
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) {
        found = [at - start + 1, (units[node] ?? 0) & 0x7fff_ffff];
        if (which === 'shortest') break;
      }
    }
    return found;
  }

  /** Up to the zero that ends it. */
  #replacement(at: number): Uint8Array {
    const end = this.#texts.indexOf(0, at);
    return this.#texts.subarray(at, end < 0 ? this.#texts.length : end);
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
