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
import { blockFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
import {
  blockLength,
  fillAwq,
  fillGptq,
  makeTile,
  type Tile,
  tileBlocks,
  tileOutputs,
  writeBlocks,
} from './level-tiles.ts';
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

/** In which bits of a word AWQ has output i of 8. */
const awqPlaces = [0, 4, 1, 5, 2, 6, 3, 7];
const levelsOf = { q4_0: 8, q5_0: 16, q8_0: 128 } as const;

interface Parts {
  readonly q: Int32Array;
  readonly z: Int32Array;
  readonly s: Uint16Array;
}

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
  if (K % blockLength !== 0 || group % blockLength !== 0) {
    return refuse('UnsupportedFile', `${K} values in groups of ${group} are no blocks of ${blockLength}`);
  }
  const format = formatFor(settings) ?? refuse('UnsupportedFile', `${bits} bits with zeros anywhere fit no block`);
  const groupIndex = tensors.get(`${stem}.g_idx`);
  const mask = 2 ** bits - 1;
  const middle = levelsOf[format];
  const { blockBytes } = blockFormat(format);
  const write = writeBlocks[format];
  const rowBytes = (K / blockLength) * blockBytes;
  const fill = method === 'awq' ? fillAwq : fillGptq[bits];
  /** Outputs of which a word has something. */
  const perColumn = method === 'awq' ? perWord : 1;
  const tile = makeTile();

  const shifts = Int32Array.from({ length: perWord }, (_, i) => bits * (method === 'awq' ? awqPlaces[i] : i));
  const middleAdd = middle - 2 ** (bits - 1);
  const readGroup = (parts: Parts, g: number, block: number, start: number, end: number) => {
    readScales(tile, block, parts, g * N + start, g * N + end, { shifts, mask, most: middle - zeroOffset });
    const adds = tile.adds.subarray(block * tileOutputs, block * tileOutputs + end - start);
    if (symmetric && adds.some((add) => add !== middleAdd))
      refuse('InvalidFile', 'its zeros are not where its settings say (sym)');
  };
  const makeRows = (parts: Parts, target: Uint8Array, first: number, count: number) => {
    const halves = new Uint16Array(target.buffer, target.byteOffset, target.length / 2);
    for (let start = first - (first % tileOutputs); start < first + count; start += tileOutputs) {
      const end = Math.min(start + tileOutputs, N);
      const [from, to] = [Math.max(first, start), Math.min(first + count, end)];
      for (let k = 0; k < K; k += tileBlocks * blockLength) {
        const blocks = Math.min(tileBlocks, (K - k) / blockLength);
        for (let block = 0; block < blocks; block++) {
          const row = k + block * blockLength;
          if (block > 0 && row % group !== 0) repeatScales(tile, block);
          else readGroup(parts, Math.floor(row / group), block, start, end);
          fill(tile, block, parts.q, across, row, start / perColumn, end / perColumn);
        }
        const at = (from - first) * rowBytes + (k / blockLength) * blockBytes;
        write(tile, blocks, from - start, to - start, halves, at / 2, rowBytes / 2);
      }
    }
  };

  /** Of all rows, while they are wanted: an output's values are spread over all of them. */
  let held: Promise<Parts> | undefined;
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
    return { q: new Int32Array(q.buffer), z: new Int32Array(z.buffer), s: new Uint16Array(s.buffer) };
  };
  const source = rowSource(path, N, rowBytes, async (target, first, count) => {
    held ??= load();
    const parts = await held;
    given += count;
    if (given >= N) [held, given] = [undefined, 0];
    makeRows(parts, target, first, count);
  });
  return { name: `${stem}.weight`, format, shape: [N, K], bytes: source };
}

interface Zeros {
  /** Of the outputs of a word. */
  readonly shifts: Int32Array;
  readonly mask: number;
  /** What is added to levels where the stored zero is 0. */
  readonly most: number;
}

/** Of a block the scales `start` to `end`, and what makes the levels of those outputs the ones of a block. */
function readScales(tile: Tile, block: number, { z, s }: Parts, start: number, end: number, zeros: Zeros): void {
  const { scales, adds } = tile;
  const { shifts, mask, most } = zeros;
  let to = block * tileOutputs;
  for (let at = start, word = start / shifts.length; at < end; word++) {
    const some = z[word] as number;
    for (let place = 0; place < shifts.length; place++, at++, to++) {
      adds[to] = most - ((some >>> (shifts[place] as number)) & mask);
      scales[to] = s[at] as number;
    }
  }
}

/** A block has those of the one before. */
function repeatScales({ scales, adds }: Tile, block: number): void {
  for (const list of [scales, adds])
    list.copyWithin(block * tileOutputs, (block - 1) * tileOutputs, block * tileOutputs);
}
