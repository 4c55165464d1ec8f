/**
 * llama.cpp's file types, and which format each tensor of a GGUF file gets in one: `ingot quantize` makes the choices of
 * llama.cpp's quantize (`llama-quant.cpp`), so that a file of a name is what people know under that name. Types whose main
 * format Ingot cannot encode, and rules for architectures that it does not know, are left out.
 */
import type { MetadataValue } from '../formats/checkpoint.ts';
import { blockFormat } from '../numerics/quant/formats.ts';

interface FileTypeRow {
  /** llama.cpp's `llama_ftype`, the key `general.file_type`. */
  readonly number: number;
  /** Of tensors that no rule gives another. */
  readonly format: string;
}

const rows = {
  f32: { number: 0, format: 'f32' },
  f16: { number: 1, format: 'f16' },
  bf16: { number: 32, format: 'bf16' },
  q8_0: { number: 7, format: 'q8_0' },
  q6_K: { number: 18, format: 'q6_K' },
  q5_K_M: { number: 17, format: 'q5_K' },
  q5_K_S: { number: 16, format: 'q5_K' },
  q5_1: { number: 9, format: 'q5_1' },
  q5_0: { number: 8, format: 'q5_0' },
  q4_K_M: { number: 15, format: 'q4_K' },
  q4_K_S: { number: 14, format: 'q4_K' },
  q4_1: { number: 3, format: 'q4_1' },
  q4_0: { number: 2, format: 'q4_0' },
  iq4_nl: { number: 25, format: 'iq4_nl' },
  iq4_xs: { number: 30, format: 'iq4_xs' },
  q3_K_L: { number: 13, format: 'q3_K' },
  q3_K_M: { number: 12, format: 'q3_K' },
  q3_K_S: { number: 11, format: 'q3_K' },
  q2_K: { number: 10, format: 'q2_K' },
  tq2_0: { number: 37, format: 'tq2_0' },
  tq1_0: { number: 36, format: 'tq1_0' },
  mxfp4_moe: { number: 38, format: 'mxfp4' },
} as const satisfies Record<string, FileTypeRow>;

export type FileType = keyof typeof rows;

/** Short names that llama.cpp has too. */
const aliases: ReadonlyMap<string, FileType> = new Map([
  ['q3_k', 'q3_K_M'],
  ['q4_k', 'q4_K_M'],
  ['q5_k', 'q5_K_M'],
]);

export const fileTypeNames: readonly FileType[] = Object.keys(rows).filter(isFileType);

function isFileType(name: string): name is FileType {
  return Object.hasOwn(rows, name);
}

/** By a name in any case; undefined for one that there is not. */
export function fileTypeNamed(name: string): FileType | undefined {
  const lower = name.toLowerCase();
  return fileTypeNames.find((type) => type.toLowerCase() === lower) ?? aliases.get(lower);
}

export function fileTypeNumber(type: FileType): number {
  return rows[type].number;
}

/** A tensor by its GGUF name. */
export interface TensorToQuantize {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface FormatChoice {
  readonly type: FileType;
  /** Of the GGUF file: the rules read the architecture and its sizes. */
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly hasImportance: boolean;
  /** The first pattern that is found in a name decides, whatever the rules say. */
  readonly overrides: readonly { readonly pattern: RegExp; readonly format: string }[];
}

/** Matrices that are small and that much depends on: what chooses experts, norms, positions, convolutions. */
const untouched =
  /_norm\.weight$|ffn_gate_inp|position_embd|token_types|ssm_conv1d|shortconv\.conv|per_layer_model_proj|altup|laurel|attn_rel_b|\.rel_pos/;

/** Whether a tensor is one that quantizing changes. */
export function isQuantizable({ name, shape }: TensorToQuantize): boolean {
  return shape.length > 1 && name.endsWith('weight') && !untouched.test(name);
}

/** The formats of all tensors that are quantized, by name. */
export function chooseFormats(tensors: readonly TensorToQuantize[], choice: FormatChoice): ReadonlyMap<string, string> {
  const facts = factsOf(tensors, choice);
  const chosen = new Map<string, string>();
  // The rules count tensors layer by layer.
  for (const tensor of tensors.filter(isQuantizable).sort(byLayer)) {
    const override = choice.overrides.find(({ pattern }) => pattern.test(tensor.name));
    const format = override?.format ?? formatByRules(tensor, choice.type, facts);
    // What somebody asked for is not replaced: it fits, or is refused where it is made.
    chosen.set(tensor.name, override === undefined ? divisible(tensor, format) : format);
  }
  return chosen;
}

function byLayer(a: TensorToQuantize, b: TensorToQuantize): number {
  return layerOf(a) - layerOf(b) || (a.name < b.name ? -1 : 1);
}

function layerOf({ name }: TensorToQuantize): number {
  return Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
}

interface Facts {
  readonly layers: number;
  readonly experts: number;
  /** Query heads for each head of keys and values. */
  readonly sharing: number;
  readonly is70B: boolean;
  readonly tiedEmbedding: boolean;
  readonly hasImportance: boolean;
  readonly valueTensors: number;
  /** Tensors of their kind that had their turn. */
  readonly seen: { values: number; down: number };
}

function factsOf(tensors: readonly TensorToQuantize[], { metadata, hasImportance }: FormatChoice): Facts {
  const architecture = metadata.get('general.architecture');
  const number = (key: string): number => {
    const value = metadata.get(`${architecture}.${key}`);
    // Some files have one for each layer.
    const first = Array.isArray(value) || ArrayBuffer.isView(value) ? [...(value as Iterable<unknown>)][0] : value;
    return typeof first === 'number' ? first : 0;
  };
  const layers = number('block_count');
  const heads = number('attention.head_count');
  const kvHeads = number('attention.head_count_kv') || heads;
  return {
    layers,
    experts: number('expert_count'),
    sharing: kvHeads === 0 ? 0 : Math.floor(heads / kvHeads),
    is70B: layers === 80 && ((architecture === 'llama' && heads !== kvHeads) || architecture === 'qwen2'),
    tiedEmbedding: !tensors.some(({ name }) => name === 'output.weight'),
    hasImportance,
    valueTensors: tensors.filter((tensor) => kindOf(tensor) === 'value').length,
    seen: { values: 0, down: 0 },
  };
}

type Kind = 'output' | 'embedding' | 'value' | 'key' | 'attentionOutput' | 'down' | 'other';

function kindOf({ name }: TensorToQuantize): Kind {
  if (name === 'output.weight') return 'output';
  if (name === 'token_embd.weight') return 'embedding';
  if (/attn_(qkv|kv_b|v)\.weight/.test(name)) return 'value';
  if (name.includes('attn_k.weight')) return 'key';
  if (name.includes('attn_output.weight')) return 'attentionOutput';
  return name.includes('ffn_down') ? 'down' : 'other';
}

function formatByRules(tensor: TensorToQuantize, type: FileType, facts: Facts): string {
  const { format } = rows[type];
  if (format === 'f32' || format === 'f16' || format === 'bf16') return format;
  const kind = kindOf(tensor);
  if (kind === 'output' || (kind === 'embedding' && facts.tiedEmbedding)) return outputFormat(tensor, type);
  if (type === 'mxfp4_moe') return tensor.shape.length > 2 ? 'mxfp4' : 'q8_0';
  switch (kind) {
    case 'embedding':
      return type === 'tq1_0' || type === 'tq2_0' ? 'q4_K' : format;
    case 'value': {
      const chosen = valueFormat(type, facts) ?? format;
      facts.seen.values++;
      if (facts.experts === 8) return 'q8_0';
      return facts.is70B && (chosen === 'q3_K' || chosen === 'q4_K') ? 'q5_K' : chosen;
    }
    case 'key':
      return facts.experts === 8 ? 'q8_0' : format;
    case 'down': {
      const layer = facts.experts > 1 ? layerOf(tensor) : facts.seen.down;
      facts.seen.down++;
      return downFormat(type, layer, facts) ?? format;
    }
    case 'attentionOutput':
      return attentionOutputFormat(type, facts) ?? format;
    case 'other':
      return format;
    default:
      return kind satisfies never;
  }
}

function outputFormat({ shape }: TensorToQuantize, type: FileType): string {
  const { format } = rows[type];
  if (type === 'mxfp4_moe' || (shape.at(-1) ?? 1) % blockFormat(format).blockSize !== 0) return 'q8_0';
  return format === 'q8_0' ? format : 'q6_K';
}

/** The first and the last eighth of the layers, and every third between. */
function takesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function valueFormat(type: FileType, { sharing, valueTensors, seen }: Facts): string | undefined {
  switch (type) {
    case 'q2_K':
      return sharing >= 4 ? 'q4_K' : 'q3_K';
    case 'q3_K_M':
      return seen.values < 2 ? 'q5_K' : 'q4_K';
    case 'q3_K_L':
      return 'q5_K';
    case 'iq4_nl':
    case 'iq4_xs':
      return sharing >= 4 ? 'q5_K' : undefined;
    case 'q4_K_S':
      return seen.values < 4 ? 'q5_K' : undefined;
    case 'q4_K_M':
    case 'q5_K_M':
      return takesMoreBits(seen.values, valueTensors) ? 'q6_K' : undefined;
    default:
      return undefined;
  }
}

function downFormat(type: FileType, layer: number, { layers, hasImportance }: Facts): string | undefined {
  const isEarly = layer < Math.floor(layers / 8);
  switch (type) {
    case 'q2_K':
      return 'q3_K';
    case 'q3_K_M':
      return layer < Math.floor(layers / 16) ? 'q5_K' : 'q4_K';
    case 'q3_K_L':
      return 'q5_K';
    case 'q4_K_M':
    case 'q5_K_M':
      return takesMoreBits(layer, layers) ? 'q6_K' : undefined;
    case 'q4_K_S':
      return isEarly ? 'q5_K' : undefined;
    case 'iq4_nl':
    case 'iq4_xs':
      return isEarly && !hasImportance ? 'q5_K' : undefined;
    case 'q4_0':
    case 'q5_0':
      return isEarly && hasImportance ? { q4_0: 'q4_1', q5_0: 'q5_1' }[type] : undefined;
    default:
      return undefined;
  }
}

function attentionOutputFormat(type: FileType, { experts }: Facts): string | undefined {
  if (experts === 8) return /^(q2_K|q3_K_S|q3_K_M|q4_K_S|q4_K_M|iq4_nl|iq4_xs)$/.test(type) ? 'q5_K' : undefined;
  switch (type) {
    case 'q2_K':
      return 'q3_K';
    case 'q3_K_M':
      return 'q4_K';
    case 'q3_K_L':
      return 'q5_K';
    default:
      return undefined;
  }
}

/** Of 32 values a block, for rows that are not whole blocks of 256. */
const smallerBlocks: Readonly<Record<string, string>> = {
  q2_K: 'q4_0',
  q3_K: 'q4_0',
  tq1_0: 'q4_0',
  tq2_0: 'q4_0',
  q4_K: 'q5_0',
  q5_K: 'q5_1',
  q6_K: 'q8_0',
  iq4_xs: 'iq4_nl',
};

/** What llama.cpp takes instead where rows are not whole blocks. */
function divisible({ shape }: TensorToQuantize, format: string): string {
  const columns = shape.at(-1) ?? 1;
  const fits = (name: string) => columns % blockFormat(name).blockSize === 0;
  return [format, smallerBlocks[format] ?? 'f16'].find(fits) ?? 'f16';
}
