/** The end of a product: 16 results a token from accumulators to rows of y, fewer of a last panel that N does not fill. */
import type { Assembler } from '../asm/assembler.ts';
import {
  eax,
  edi,
  type Gp,
  indexed,
  k,
  type Mem,
  masked,
  offset,
  ptr,
  r10,
  r14,
  rax,
  rdi,
  rip,
  type Vec,
  zeroed,
} from '../asm/operands.ts';
import { panelRows } from './packing.ts';
import type { PanelVectors } from './product.ts';

/** Where y has the results of a panel for tokens that follow one another, the next of them by r10. */
export interface ResultRows {
  /** May write code that changes rdi. */
  to(token: number): Mem;
  /** Moves r10 on by `tokens`. */
  emitNext(tokens: number | Gp): void;
}

/** One after another: r10 is the place of the next. Changes rax. */
export function denseRows(a: Assembler, N: number): ResultRows {
  return {
    to: (token) => ptr(r10, 4 * N * token),
    emitNext(tokens) {
      if (typeof tokens === 'number') {
        a.emit('add', r10, 4 * N * tokens);
        return;
      }
      a.emit('imul', rax, tokens, 4 * N);
      a.emit('add', r10, rax);
    },
  };
}

/** r10 is where the number of the next one's row is; r14 the place in row 0. */
export function numberedRows(a: Assembler, N: number): ResultRows {
  return {
    to(token) {
      a.emit('mov', edi, ptr(r10, 4 * token));
      a.emit('imul', rdi, rdi, 4 * N);
      return indexed(r14, rdi);
    },
    emitNext(tokens) {
      if (typeof tokens === 'number') a.emit('add', r10, 4 * tokens);
      else a.emit('lea', r10, indexed(r10, tokens, 4));
    },
  };
}

export interface Results {
  readonly tokens: number;
  readonly bias?: Mem | undefined;
  /** How far from where its results go lies what they are added to. */
  readonly residual?: Gp | undefined;
  value(token: number, part: number): Vec | Mem;
  /** Where the results of a token go. */
  to(token: number): Mem;
}

/** Writes the first `rows` rows, with the bias and what else is added to them. Uses registers 8 to 10 and k1, and rax. */
export function emitResults(a: Assembler, vectors: PanelVectors, rows: number, results: Results): void {
  const { tokens, bias, residual, value, to } = results;
  const { bits, parts, register } = vectors;
  const lanes = bits / 32;
  const [sum, mask, added] = [register(8), register(9), register(10)];
  for (const part of parts) {
    const there = Math.min(lanes, rows - lanes * part);
    if (there <= 0) continue;
    const whole = there === lanes;
    if (!whole && bits === 256) {
      a.emit('vmovdqa', mask, rip(a.constant(Int32Array.from({ length: 8 }, (_, lane) => (lane < there ? -1 : 0)))));
    } else if (!whole) {
      a.emit('mov', eax, 2 ** there - 1);
      a.emit('kmovw', k(1), eax);
    }
    const load = (register: Vec, from: Mem) => {
      if (whole) a.emit('vmovups', register, from);
      else if (bits === 256) a.emit('vmaskmovps', register, mask, from);
      else a.emit('vmovups', zeroed(register, k(1)), from);
    };
    for (let token = 0; token < tokens; token++) {
      const place = offset(to(token), 32 * part);
      a.emit('vmovaps', sum, value(token, part));
      const addends = [
        ...(bias ? [offset(bias, 32 * part)] : []),
        ...(residual ? [{ ...place, index: residual }] : []),
      ];
      for (const addend of addends) {
        load(added, addend);
        a.emit('vaddps', sum, sum, added);
      }
      if (whole) a.emit('vmovups', place, sum);
      else if (bits === 256) a.emit('vmaskmovps', place, mask, sum);
      else a.emit('vmovups', masked(place, k(1)), sum);
    }
  }
}

/** What `emit` writes, for panels that are whole and, where N does not fill it, for the last of them. */
export function emitForPanel(a: Assembler, N: number, number: Gp, last: number, emit: (rows: number) => void): void {
  const rows = N % panelRows;
  if (rows === 0) {
    emit(panelRows);
    return;
  }
  const [whole, done] = [a.label(), a.label()];
  a.emit('cmp', number, last);
  a.emit('jne', whole);
  emit(rows);
  a.emit('jmp', done);
  a.bind(whole);
  emit(panelRows);
  a.bind(done);
}
