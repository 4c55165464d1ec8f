/** What lies before and behind the layers of decoders, as blocks. */
import { type Block, block } from './block.ts';
import { rmsNorm } from './norm.ts';
import { linearRows, row, type View } from './tensors.ts';

interface TableSizes {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
}

/** Rows of a table by the ids of tokens. */
export function tokenEmbedding(huggingface: string, { vocabularySize, hiddenSize }: TableSizes): Block {
  const rows = [row('token_embd.weight', huggingface, [vocabularySize, hiddenSize])];
  return block('embedding', [], rows, (l, ids) => l.take('token_embd.weight', ids));
}

/** Adds rows of a table that is learned, by position. */
export function positionEmbedding(
  huggingface: string,
  { contextLength, hiddenSize }: { readonly contextLength: number; readonly hiddenSize: number },
  view?: View,
): Block {
  const rows = [row('position_embd.weight', huggingface, [contextLength, hiddenSize], { view })];
  return block('positions', [], rows, (l, x) => l.b.add(x, l.take('position_embd.weight', l.value('positions'))));
}

/** Logits; the embedding of the tokens serves where a file has no other head. */
export function head(huggingface: string, { vocabularySize, hiddenSize }: TableSizes): Block {
  const rows = linearRows('output', huggingface, [vocabularySize, hiddenSize], { optional: true });
  return block('head', [], rows, (l, x) => l.linear(x, l.has('output.weight') ? 'output' : 'token_embd'));
}

/** An embedding of the tokens, RMSNorm, and a head, under the names that most have. */
export function plainEnds(
  sizes: TableSizes & { readonly normEpsilon: number },
  { normView }: { normView?: View } = {},
) {
  return {
    embedding: tokenEmbedding('model.embed_tokens.weight', sizes),
    norm: rmsNorm('output_norm', 'model.norm', sizes, normView),
    head: head('lm_head', sizes),
  };
}
