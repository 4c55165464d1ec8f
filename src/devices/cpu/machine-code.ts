/**
 * Assembled code as bytes of an architecture: those of x86-64 as they are written, those of arm64 translated. Kernels are made for a
 * target; the team, exchanges and what else meets other threads keep the order of memory that x86-64 has.
 */
import { translate } from './arm64/translate.ts';
import type { Assembler, Code } from './asm/assembler.ts';
import type { EmittedKernel } from './emit/abi.ts';
import type { Architecture } from './os/os.ts';
import type { Target } from './target.ts';

/** A kernel for a target. */
export function kernelCode(
  { source, bytes, alignment, listing }: EmittedKernel,
  { architecture, name }: Pick<Target, 'architecture' | 'name'>,
): Pick<Code, 'bytes' | 'alignment' | 'listing'> {
  if (architecture === 'x64') return { bytes, alignment, listing };
  return translate(source, { extensions: { dotprod: name !== 'neon', i8mm: name === 'i8mm' } });
}

/** Code that meets other threads. */
export function sharedCode(source: Assembler, architecture: Architecture): Code {
  if (architecture === 'x64') return source.assemble();
  return translate(source, { extensions: { dotprod: false, i8mm: false }, ordered: true });
}
