/** How a translated function begins and ends: the stack as code for x86-64 expects it. */
import { place, sp, v, x } from '../asm/arm64/operands.ts';
import { type Context, HOMES } from './context.ts';

/** The stack of a function that begins: its return address, as x86-64 has it there, above it what a caller wants to have kept. */
export function enter(t: Context, homes: number, keeps: boolean): void {
  const bytes = frameBytes(homes, keeps);
  t.emit('sub', sp, sp, bytes);
  t.move(x(16), sp);
  t.emit('str', x(30), place(x(16)));
  if (keeps) for (let i = 0; i < 4; i++) t.emit('stp', v(8 + 2 * i, 'd'), v(9 + 2 * i, 'd'), place(x(16), 8 + 16 * i));
  if (homes > 0) {
    t.emit('str', HOMES, place(x(16), bytes - 8));
    t.emit('add', HOMES, x(16), bytes - 16 - 32 * homes);
  }
  t.stackAligned = false;
}

export function leave(t: Context, homes: number, keeps: boolean): void {
  const bytes = frameBytes(homes, keeps);
  t.move(x(16), sp);
  t.emit('ldr', x(30), place(x(16)));
  if (keeps) for (let i = 0; i < 4; i++) t.emit('ldp', v(8 + 2 * i, 'd'), v(9 + 2 * i, 'd'), place(x(16), 8 + 16 * i));
  if (homes > 0) t.emit('ldr', HOMES, place(x(16), bytes - 8));
  t.emit('add', sp, sp, bytes);
  t.move(x(0), x(6));
  t.emit('ret');
}

/** A multiple of 16 and 8 more, so that the stack is aligned where code for x86-64 believes it to be. */
const frameBytes = (homes: number, keeps: boolean) => 8 + (keeps ? 64 : 0) + (homes > 0 ? 16 + 32 * homes : 0);
