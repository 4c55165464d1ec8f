/**
 * The numbers that GGUF files use: ggml's tensor types and the types of metadata values.
 * After ggml's `ggml.h` / `ggml-common.h` (block structures) and the GGUF specification (`docs/gguf.md` in ggml).
 *
 * Sizes of every type are here, so that any file can be inspected; which of them can be decoded is the matter of
 * `numerics/quant/formats.ts`.
 */

export interface GgmlType {
  readonly id: number;
  /** ggml's own name of the type, as its tools print it. */
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
}

const rows: readonly (readonly [id: number, name: string, blockSize: number, blockBytes: number])[] = [
  [0, 'f32', 1, 4],
  [1, 'f16', 1, 2],
  [2, 'q4_0', 32, 18],
  [3, 'q4_1', 32, 20],
  [6, 'q5_0', 32, 22],
  [7, 'q5_1', 32, 24],
  [8, 'q8_0', 32, 34],
  [9, 'q8_1', 32, 36],
  [10, 'q2_K', 256, 84],
  [11, 'q3_K', 256, 110],
  [12, 'q4_K', 256, 144],
  [13, 'q5_K', 256, 176],
  [14, 'q6_K', 256, 210],
  [15, 'q8_K', 256, 292],
  [16, 'iq2_xxs', 256, 66],
  [17, 'iq2_xs', 256, 74],
  [18, 'iq3_xxs', 256, 98],
  [19, 'iq1_s', 256, 50],
  [20, 'iq4_nl', 32, 18],
  [21, 'iq3_s', 256, 110],
  [22, 'iq2_s', 256, 82],
  [23, 'iq4_xs', 256, 136],
  [24, 'i8', 1, 1],
  [25, 'i16', 1, 2],
  [26, 'i32', 1, 4],
  [27, 'i64', 1, 8],
  [28, 'f64', 1, 8],
  [29, 'iq1_m', 256, 56],
  [30, 'bf16', 1, 2],
  [34, 'tq1_0', 256, 54],
  [35, 'tq2_0', 256, 66],
  [39, 'mxfp4', 32, 17],
  [40, 'nvfp4', 64, 36],
  [41, 'q1_0', 128, 18],
];

const types: readonly GgmlType[] = rows.map(([id, name, blockSize, blockBytes]) => ({
  id,
  name,
  blockSize,
  blockBytes,
}));

export const ggmlTypesById: ReadonlyMap<number, GgmlType> = new Map(types.map((type) => [type.id, type]));
export const ggmlTypesByName: ReadonlyMap<string, GgmlType> = new Map(types.map((type) => [type.name, type]));

/** Types that once were in files and that ggml itself no longer reads. */
export const removedGgmlTypes: ReadonlyMap<number, string> = new Map([
  [4, 'q4_2'],
  [5, 'q4_3'],
  [31, 'q4_0_4_4'],
  [32, 'q4_0_4_8'],
  [33, 'q4_0_8_8'],
  [36, 'iq4_nl_4_4'],
  [37, 'iq4_nl_4_8'],
  [38, 'iq4_nl_8_8'],
]);

/** llama.cpp's numbers (`llama_ftype`, the key `general.file_type`) for files whose matrices are mostly of a format. */
export const ggufFileTypes: ReadonlyMap<string, number> = new Map([
  ['f32', 0],
  ['f16', 1],
  ['q4_0', 2],
  ['q4_1', 3],
  ['q8_0', 7],
  ['q5_0', 8],
  ['q5_1', 9],
  ['q2_K', 10],
  ['q3_K', 11],
  ['q4_K', 14],
  ['q5_K', 16],
  ['q6_K', 18],
  ['iq2_xxs', 19],
  ['iq2_xs', 20],
  ['iq3_xxs', 23],
  ['iq4_nl', 25],
  ['iq3_s', 26],
  ['iq2_s', 29],
  ['iq4_xs', 30],
  ['bf16', 32],
  ['tq1_0', 36],
  ['tq2_0', 37],
  ['mxfp4', 38],
  ['nvfp4', 39],
]);

/** Metadata value types other than arrays: id in the file, and the least bytes of one value. */
export const ggufScalars = {
  uint8: { id: 0, bytes: 1 },
  int8: { id: 1, bytes: 1 },
  uint16: { id: 2, bytes: 2 },
  int16: { id: 3, bytes: 2 },
  uint32: { id: 4, bytes: 4 },
  int32: { id: 5, bytes: 4 },
  float32: { id: 6, bytes: 4 },
  bool: { id: 7, bytes: 1 },
  string: { id: 8, bytes: 8 },
  uint64: { id: 10, bytes: 8 },
  int64: { id: 11, bytes: 8 },
  float64: { id: 12, bytes: 8 },
} as const;

export const ggufArrayId = 9;

export type GgufScalar = keyof typeof ggufScalars;

export function ggufScalarById(id: number): GgufScalar | undefined {
  for (const name in ggufScalars) {
    if (isGgufScalar(name) && ggufScalars[name].id === id) return name;
  }
  return undefined;
}

function isGgufScalar(name: string): name is GgufScalar {
  return Object.hasOwn(ggufScalars, name);
}

/** The type of a metadata value as the file states it. Arrays of arrays state the type of each. */
export type GgufType = GgufScalar | GgufArrayType;
export type GgufArrayType = { readonly array: GgufScalar } | { readonly arrays: readonly GgufArrayType[] };

export const ggufMagic = 0x46554747; // 'GGUF', little endian
export const ggufVersion = 3;
export const ggufDefaultAlignment = 32;
export const ggufAlignmentKey = 'general.alignment';
