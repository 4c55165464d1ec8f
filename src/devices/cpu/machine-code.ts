/**
 * Assembled code as bytes of an architecture: those of x86-64 as they are written, those of arm64 translated. Kernels are made for a
 * target; the team, exchanges and what else meets other threads keep the order of memory that x86-64 has.
 */
import type { Extensions } from './arm64/context.ts';
import { translate } from './arm64/translate.ts';
import type { Assembler, Code } from './asm/assembler.ts';
import type { CodeCache } from './code-cache.ts';
import type { EmittedKernel } from './emit/abi.ts';
import type { Architecture } from './os/os.ts';
import { featuresOf, type Target, targetKey } from './target.ts';

/** Of a processor of arm64, by the names of its features. */
const extensionsOf = (features: ReadonlySet<string>): Extensions => ({
  dotprod: features.has('asimddp'),
  i8mm: features.has('i8mm'),
  bf16: features.has('bf16'),
});

/** A kernel for a target. */
export function kernelCode(
  { source, bytes, alignment, listing }: EmittedKernel,
  { architecture, name }: Pick<Target, 'architecture' | 'name'>,
): Pick<Code, 'bytes' | 'alignment' | 'listing'> {
  if (architecture === 'x64') return { bytes, alignment, listing };
  return translate(source, { extensions: extensionsOf(new Set(featuresOf(name))) });
}

/** A kernel without what only people look at. */
export interface StoredCode {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly alignment: number;
}

/** The same from the cache where it is there. `key`: equal for equal code of a target. */
export function keptKernel(
  key: string,
  emit: () => EmittedKernel,
  target: Target,
  cache: CodeCache | undefined,
): StoredCode {
  const whole = `kernel ${targetKey(target)}\n${key}`;
  const known = cache?.find<Omit<StoredCode, 'bytes'>>(whole);
  if (known !== undefined) return { ...known.head, bytes: known.bytes };
  const emitted = emit();
  const { name } = emitted;
  const { bytes, alignment } = kernelCode(emitted, target);
  cache?.keep(whole, { head: { name, alignment }, bytes });
  return { name, bytes, alignment };
}

/** Code that meets no other thread. */
export function loopCode(source: Assembler, architecture: Architecture, features: ReadonlySet<string>): Code {
  if (architecture === 'x64') return source.assemble();
  return translate(source, { extensions: extensionsOf(features) });
}

/** Code that meets other threads. */
export function sharedCode(source: Assembler, architecture: Architecture): Code {
  if (architecture === 'x64') return source.assemble();
  return translate(source, { extensions: extensionsOf(new Set()), ordered: true });
}
