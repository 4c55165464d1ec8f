/**
 * What a weight format is: values in blocks of `blockSize` along the last dimension, `blockBytes` each. Unquantized
 * element types are formats too (blocks of one). One file a family; the table is in `formats.ts`.
 */

export interface BlockFormat {
  /** ggml's name of the type in lower case as its tools print it: 'f32', 'q8_0', 'q4_K'. */
  readonly name: string;
  /** Values in a block; the last dimension of a tensor is a multiple of it. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Decodes `values.length` values; `bytes` holds exactly their blocks. Bit-exact to the format's public definition. */
  decode(bytes: Uint8Array, values: Float32Array): void;
  /** Encodes to nearest as the format's public reference encoder does; `values.length` is a multiple of `blockSize`. */
  encode(values: Float32Array, bytes: Uint8Array): void;
}
