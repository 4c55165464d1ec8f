/**
 * Reads llama2.c checkpoints of the legacy layout ("version 0" in karpathy/llama2.c `export.py` and `run.c`):
 *
 *   7 x i32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: classifier not shared), seq_len
 *   f32 arrays, each over all layers, in the order of `layout` below
 *
 * Nothing marks such a file, so its size must be exactly what its header says. Tensors get GGUF's names and one entry a
 * layer. Rotary pairs are adjacent, as in GGUF files of the llama architecture.
 */
import { type ByteSource, sliceBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from './checkpoint.ts';

const headerFields = ['dim', 'hidden_dim', 'n_layers', 'n_heads', 'n_kv_heads', 'vocab_size', 'seq_len'] as const;
export type Llama2cHeader = Readonly<Record<(typeof headerFields)[number], number>> & {
  readonly shared_classifier: boolean;
};

const maxLayers = 4096;

export const llama2cHeaderBytes = headerFields.length * 4;

/** The header, or why these bytes are none. */
export function parseLlama2cHeader(bytes: Uint8Array): Llama2cHeader | string {
  if (bytes.length < llama2cHeaderBytes) return `a header of ${llama2cHeaderBytes} bytes does not fit`;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [dim = 0, hidden_dim = 0, n_layers = 0, n_heads = 0, n_kv_heads = 0, vocab = 0, seq_len = 0] = headerFields.map(
    (_, i) => view.getInt32(i * 4, true),
  );
  const header = { dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size: Math.abs(vocab), seq_len };
  for (const field of headerFields) {
    if (header[field] <= 0) return `${field} is ${header[field]}`;
  }
  if (dim % n_heads !== 0 || (dim / n_heads) % 2 !== 0) return `dim ${dim} does not make ${n_heads} even heads`;
  if (n_heads % n_kv_heads !== 0) return `${n_heads} heads do not share ${n_kv_heads} key-value heads`;
  // So that a big file of tiny layers cannot fill the memory with their descriptions.
  if (n_layers > maxLayers) return `n_layers is ${n_layers}; at most ${maxLayers} are read`;
  return { ...header, shared_classifier: vocab > 0 };
}

/** One array of the file: name, shape of one tensor, and how many follow each other. `skip`: derived, not a weight. */
interface Row {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: 'single' | 'layers' | 'skip';
}

function layout(header: Llama2cHeader): readonly Row[] {
  const { dim, hidden_dim: hidden, n_heads: heads, n_kv_heads: kvHeads, vocab_size: vocab, seq_len: length } = header;
  const kvDim = (dim / heads) * kvHeads;
  const angles = [length, dim / heads / 2];
  const rows: Row[] = [
    { name: 'token_embd', shape: [vocab, dim], kind: 'single' },
    { name: 'attn_norm', shape: [dim], kind: 'layers' },
    { name: 'attn_q', shape: [dim, dim], kind: 'layers' },
    { name: 'attn_k', shape: [kvDim, dim], kind: 'layers' },
    { name: 'attn_v', shape: [kvDim, dim], kind: 'layers' },
    { name: 'attn_output', shape: [dim, dim], kind: 'layers' },
    { name: 'ffn_norm', shape: [dim], kind: 'layers' },
    { name: 'ffn_gate', shape: [hidden, dim], kind: 'layers' },
    { name: 'ffn_down', shape: [dim, hidden], kind: 'layers' },
    { name: 'ffn_up', shape: [hidden, dim], kind: 'layers' },
    { name: 'output_norm', shape: [dim], kind: 'single' },
    { name: 'freq_cis_real', shape: angles, kind: 'skip' },
    { name: 'freq_cis_imag', shape: angles, kind: 'skip' },
  ];
  if (!header.shared_classifier) rows.push({ name: 'output', shape: [vocab, dim], kind: 'single' });
  return rows;
}

function rowBytes(row: Row, layers: number): number {
  const one = row.shape.reduce((product, size) => product * size, 4);
  return row.kind === 'layers' ? one * layers : one;
}

/** Bytes that a file with this header has. */
export function llama2cFileBytes(header: Llama2cHeader): number {
  return layout(header).reduce((sum, row) => sum + rowBytes(row, header.n_layers), llama2cHeaderBytes);
}

/** Owns the source from then on, unless it throws. @throws IngotError 'InvalidFile'; whatever the source throws. */
export async function readLlama2c(source: ByteSource & Partial<AsyncDisposable>): Promise<Checkpoint> {
  const header = parseLlama2cHeader(await source.read(0, Math.min(source.length, llama2cHeaderBytes)));
  if (typeof header === 'string') return fail(source, `this is not a llama2.c checkpoint: ${header}`, 0);
  const expected = llama2cFileBytes(header);
  if (expected !== source.length) {
    return fail(source, `its header describes ${expected} bytes, the file has ${source.length}`, source.length);
  }

  const tensors = new Map<string, StoredTensor>();
  let offset = llama2cHeaderBytes;
  for (const row of layout(header)) {
    const count = row.kind === 'layers' ? header.n_layers : 1;
    const length = rowBytes(row, 1);
    for (let i = 0; i < count && row.kind !== 'skip'; i++) {
      const name = row.kind === 'layers' ? `blk.${i}.${row.name}.weight` : `${row.name}.weight`;
      const bytes = sliceBytes(source, offset + i * length, length);
      tensors.set(name, { name, format: 'f32', shape: row.shape, bytes });
    }
    offset += count * length;
  }
  return {
    kind: 'llama2c',
    path: source.name,
    files: [source],
    metadata: new Map(Object.entries(header)),
    tensors,
    companions: new Map(),
    [Symbol.asyncDispose]: async () => source[Symbol.asyncDispose]?.(),
  };
}

function fail(source: ByteSource, message: string, offset: number): never {
  const hint = 'the file is damaged or incomplete; download it again';
  throw new IngotError('InvalidFile', message, { path: source.name, offset, hint });
}
