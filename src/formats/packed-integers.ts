/**
 * Weights of AWQ and GPTQ as Hugging Face models have them, brought into ggml's blocks without a rounding. Both compute
 *
 *   w = (q - z) * s       a scale s (f16) and a zero z for each group of consecutive k of an output
 *
 * and q - z is what a block with the scale s holds: Q4_0 for -8 .. 7, Q5_0 for -16 .. 15, Q8_0 for -128 .. 127. Integers lie in
 * words of 32 bits, the output last: X.qweight, X.qzeros, X.scales [K / group, N].
 *
 * GPTQ (AutoGPTQ, GPTQModel): qweight [K * bits / 32, N], k ascending in a word; qzeros [K / group, N * bits / 32] hold z - 1, or z where
 * `checkpoint_format` is gptq_v2; g_idx [K] names the group of each k, which is k / group unless columns were reordered.
 * AWQ (AutoAWQ, "gemm"): qweight [K, N / 8], 4 bits, outputs in the order 0 2 4 6 1 3 5 7 in a word; qzeros [K / group, N / 8] likewise.
 */
import { IngotError } from '../base/errors.ts';
import { writeU32 } from '../numerics/quant/format.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
import { rowSource } from './row-source.ts';

export interface PackedIntegers {
  readonly method: 'gptq' | 'awq';
  readonly bits: 2 | 4 | 8;
  /** Values of a group; all of a row if absent. */
  readonly group?: number;
  /** All zeros are in the middle. */
  readonly symmetric: boolean;
  /** What is added to the stored zeros. */
  readonly zeroOffset: 0 | 1;
}

const blockSize = 32;
/** In which bits of a word AWQ has output i of 8. */
const awqPlaces = [0, 4, 1, 5, 2, 6, 3, 7];
const levelsOf = { q4_0: 8, q5_0: 16, q8_0: 128 } as const;

/** @throws IngotError 'InvalidFile' for parts that are missing or do not fit, 'UnsupportedFile' for what no block holds. */
export function joinPackedIntegers(
  tensors: ReadonlyMap<string, StoredTensor>,
  settings: PackedIntegers,
): ReadonlyMap<string, StoredTensor> {
  const joined = new Map(tensors);
  for (const name of tensors.keys()) {
    const [, stem] = /^(.*)\.qweight$/.exec(name) ?? [];
    if (stem === undefined) continue;
    joined.set(`${stem}.weight`, joinOne(stem, tensors, settings));
    for (const part of ['qweight', 'qzeros', 'scales', 'g_idx']) joined.delete(`${stem}.${part}`);
  }
  return joined;
}

function formatFor({ bits, symmetric, zeroOffset }: PackedIntegers): keyof typeof levelsOf | undefined {
  const top = 2 ** bits - 1;
  const [lowest, highest] = symmetric ? [2 ** (bits - 1), 2 ** (bits - 1)] : [zeroOffset, top + zeroOffset];
  const fits = (levels: number) => highest <= levels && top - lowest < levels;
  return (['q4_0', 'q5_0', 'q8_0'] as const).find((format) => fits(levelsOf[format]));
}

function joinOne(stem: string, tensors: ReadonlyMap<string, StoredTensor>, settings: PackedIntegers): StoredTensor {
  const { method, bits, symmetric, zeroOffset } = settings;
  const perWord = 32 / bits;
  const part = (name: string, format: string): StoredTensor => {
    const found = tensors.get(`${stem}.${name}`);
    if (found?.format === format && found.shape.length === 2) return found;
    if (name === 'scales' && (found?.format === 'bf16' || found?.format === 'f32')) {
      const hint = 'blocks have scales of f16, to which these would have to be rounded';
      const place = { path: found.bytes.name, tensor: found.name, hint };
      throw new IngotError('UnsupportedFile', `${found.name} is of ${found.format}, which is not supported`, place);
    }
    const what =
      found === undefined ? 'is missing' : `is [${found.shape}] of ${found.format}, not a matrix of ${format}`;
    throw new IngotError('InvalidFile', `${stem}.${name} ${what}`, { tensor: `${stem}.${name}` });
  };
  const [qweight, qzeros, scales] = [part('qweight', 'i32'), part('qzeros', 'i32'), part('scales', 'f16')];
  const path = qweight.bytes.name;
  const refuse = (code: 'InvalidFile' | 'UnsupportedFile', message: string): never => {
    throw new IngotError(code, message, { path, tensor: qweight.name });
  };
  const [words, across] = qweight.shape as [number, number];
  const [K, N] = method === 'gptq' ? [words * perWord, across] : [words, across * perWord];
  const group = settings.group ?? K;
  const groups = Math.ceil(K / group);
  const fits = (tensor: StoredTensor, rows: number, columns: number) =>
    tensor.shape[0] === rows && tensor.shape[1] === columns;
  if (!fits(scales, groups, N) || !fits(qzeros, groups, N / perWord)) {
    return refuse(
      'InvalidFile',
      `[${K}, ${N}] in groups of ${group} does not go with scales [${scales.shape}] and zeros [${qzeros.shape}]`,
    );
  }
  if (K % blockSize !== 0 || group % blockSize !== 0) {
    return refuse('UnsupportedFile', `${K} values in groups of ${group} are no blocks of ${blockSize}`);
  }
  const format = formatFor(settings) ?? refuse('UnsupportedFile', `${bits} bits with zeros anywhere fit no block`);
  const groupIndex = tensors.get(`${stem}.g_idx`);
  const mask = 2 ** bits - 1;
  const middle = levelsOf[format];
  const { blockBytes } = blockFormat(format);
  const write = writeLevels[format];
  const rowBytes = (K / blockSize) * blockBytes;

  /** Of all rows, while they are wanted: an output's values are spread over all of them. */
  let held: Promise<{ readonly q: Int32Array; readonly z: Int32Array; readonly s: Uint8Array }> | undefined;
  let given = 0;
  const load = async () => {
    const read = async ({ bytes }: StoredTensor) => bytes.read(0, bytes.length);
    const [q, z, s, g] = await Promise.all([
      read(qweight),
      read(qzeros),
      read(scales),
      groupIndex === undefined ? undefined : read(groupIndex),
    ]);
    if (g !== undefined && new Int32Array(g.buffer).some((index, k) => index !== Math.floor(k / group))) {
      refuse('UnsupportedFile', 'its columns were reordered (act-order, desc_act), which is not supported');
    }
    return { q: new Int32Array(q.buffer), z: new Int32Array(z.buffer), s };
  };
  const source = rowSource(path, N, rowBytes, async (first, count) => {
    held ??= load();
    const { q, z, s } = await held;
    given += count;
    if (given >= N) [held, given] = [undefined, 0];
    const out = new Uint8Array(count * rowBytes);
    const fill = method === 'awq' ? fillAwq : fillGptq;
    const levels = new Uint8Array(perWord * blockSize);
    // Outputs that share words are made together.
    for (let word = Math.floor(first / perWord); word * perWord < first + count; word++) {
      for (let start = 0; start < K; start += blockSize) {
        fill(q, across, bits, word, start, levels);
        const g = Math.floor(start / group);
        const zeros = z[g * (N / perWord) + word] as number;
        for (let place = 0; place < perWord; place++) {
          const n = word * perWord + place;
          if (n < first || n >= first + count) continue;
          const shift = bits * (method === 'awq' ? (awqPlaces[place] as number) : place);
          const zero = ((zeros >>> shift) & mask) + zeroOffset;
          if (symmetric && zero !== 2 ** (bits - 1))
            refuse('InvalidFile', 'its zeros are not where its settings say (sym)');
          const at = (n - first) * rowBytes + (start / blockSize) * blockBytes;
          const scale = 2 * (g * N + n);
          out[at] = s[scale] as number;
          out[at + 1] = s[scale + 1] as number;
          write(levels, place * blockSize, middle - zero, out, at + 2);
        }
      }
    }
    return out;
  });
  return { name: `${stem}.weight`, format, shape: [N, K], bytes: source };
}

/** The levels of 32 k from `start` on, of all outputs that `word` holds one after another. */
type Fill = (q: Int32Array, across: number, bits: number, word: number, start: number, levels: Uint8Array) => void;

const fillAwq: Fill = (q, across, _, word, start, levels) => {
  for (let k = 0, at = start * across + word; k < blockSize; k++, at += across) {
    const eight = q[at] as number;
    for (let place = 0; place < 8; place++) {
      levels[place * blockSize + k] = (eight >>> (4 * (awqPlaces[place] as number))) & 15;
    }
  }
};

const fillGptq: Fill = (q, across, bits, word, start, levels) => {
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  for (let place = 0; place < perWord; place++) {
    let to = place * blockSize;
    for (let row = start / perWord; row < (start + blockSize) / perWord; row++) {
      const some = q[row * across + word * perWord + place] as number;
      for (let shift = 0; shift < 32; shift += bits) levels[to++] = (some >>> shift) & mask;
    }
  }
};

/** 32 levels, `add` more each, behind the scale of a block. */
type Write = (levels: Uint8Array, from: number, add: number, out: Uint8Array, at: number) => void;

const writeLevels: Readonly<Record<keyof typeof levelsOf, Write>> = {
  q4_0(levels, from, add, out, at) {
    for (let k = 0; k < 16; k++) {
      out[at + k] = ((levels[from + k] as number) + add) | (((levels[from + k + 16] as number) + add) << 4);
    }
  },
  q5_0(levels, from, add, out, at) {
    let high = 0;
    for (let k = 0; k < 16; k++) {
      const one = (levels[from + k] as number) + add;
      const two = (levels[from + k + 16] as number) + add;
      out[at + 4 + k] = (one & 15) | ((two & 15) << 4);
      high |= ((one >> 4) << k) | ((two >> 4) << (k + 16));
    }
    writeU32(out, at, high);
  },
  q8_0(levels, from, add, out, at) {
    // Signed there: 128 less.
    for (let k = 0; k < 32; k++) out[at + k] = (levels[from + k] as number) + add - 128;
  },
};
