/** What a model and its vocabulary are as one GGUF file. */
import type { Checkpoint, Metadata } from '../formats/checkpoint.ts';
import { isGguf } from '../formats/gguf.ts';
import type { GgufContents } from '../formats/gguf-write.ts';
import type { Model } from '../models/model.ts';

/**
 * A model as a GGUF file with a name and a vocabulary (`tokenizer.*` keys). What comes from a GGUF file keeps what that
 * file says, and its own vocabulary.
 * @throws IngotError as `Model.toGguf` does.
 */
export function exportGguf(
  checkpoint: Checkpoint,
  model: Model,
  options: { readonly name: string; readonly tokenizer: Metadata; readonly format?: string },
): GgufContents {
  const made = model.toGguf(options.format);
  if (!isGguf(checkpoint)) {
    const metadata = new Map([...made.metadata, ['general.name', options.name], ...options.tokenizer]);
    return { ...made, metadata };
  }
  const types = new Map(checkpoint.metadataTypes);
  const metadata = new Map(checkpoint.metadata);
  for (const key of ['general.file_type', 'general.quantization_version']) {
    const value = made.metadata.get(key);
    if (options.format === undefined || value === undefined) continue;
    metadata.set(key, value);
    types.set(key, 'uint32');
  }
  return { metadata, types, tensors: made.tensors };
}
