/** Every row of the instruction tables, in the order in which forms are tried: VEX, whose bytes are fewer, before EVEX. */
import { AMX } from './table-amx.ts';
import { AVX } from './table-avx.ts';
import { AVX512_CONVERT } from './table-avx512-convert.ts';
import { AVX512_FLOAT } from './table-avx512-float.ts';
import { AVX512_INTEGER } from './table-avx512-integer.ts';
import { AVX512_MOVE } from './table-avx512-move.ts';
import { INTEGER } from './table-integer.ts';
import { MASK } from './table-mask.ts';

export const ROWS = [
  ...INTEGER,
  ...AVX,
  ...AVX512_FLOAT,
  ...AVX512_MOVE,
  ...AVX512_CONVERT,
  ...AVX512_INTEGER,
  ...MASK,
  ...AMX,
] as const;

type MnemonicOf<R extends string> = R extends `${infer M} |${string}` ? M : never;
/** The names that `Assembler.emit` knows. */
export type Mnemonic = MnemonicOf<(typeof ROWS)[number]>;
