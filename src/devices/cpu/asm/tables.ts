/** Every row of the instruction tables, in the order in which forms are tried: VEX before EVEX. */
import { AVX } from './table-avx.ts';
import { INTEGER } from './table-integer.ts';

export const ROWS = [...INTEGER, ...AVX] as const;

export type Row = (typeof ROWS)[number];
type MnemonicOf<R extends string> = R extends `${infer M} |${string}` ? M : never;
export type Mnemonic = MnemonicOf<Row>;
