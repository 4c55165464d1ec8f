/** A function around instructions over virtual registers: registers chosen, a frame for what lies in memory, the caller's registers kept. */
import type { Assembler, Code } from '../asm/assembler.ts';
import { gp, ptr } from '../asm/operands.ts';
import { allocate, assembleAllocated, calleeSaved } from './allocate.ts';
import type { Machine } from './machine.ts';

/** Windows commits a stack page by page, as each is touched. */
const PAGE = 4096;

export function assembleFunction(
  assembler: Assembler,
  machine: Machine,
): { readonly code: Code; readonly stackBytes: number } {
  const allocation = allocate(machine.items, machine.vectorBits);
  const { frameBytes } = allocation;
  const [rax, rsp] = [gp(0, 64), gp(4, 64)];
  for (const id of calleeSaved) assembler.emit('push', gp(id, 64));
  assembler.emit('mov', rax, rsp);
  for (let at = PAGE; at < frameBytes; at += PAGE) assembler.emit('mov', ptr(rsp, -at), rax);
  assembler.emit('sub', rsp, frameBytes + 64);
  assembler.emit('and', rsp, -64);
  assembler.emit('mov', ptr(rsp, frameBytes), rax);
  assembleAllocated(allocation, assembler);
  assembler.emit('mov', rsp, ptr(rsp, frameBytes));
  for (const id of [...calleeSaved].reverse()) assembler.emit('pop', gp(id, 64));
  assembler.emit('vzeroupper');
  assembler.emit('ret');
  return { code: assembler.assemble(), stackBytes: frameBytes + 128 + 8 * (calleeSaved.length + 1) };
}
