/** What lies before and behind the layers of most decoders. */
import { block } from './block.ts';
import { rmsNorm } from './norm.ts';
import { linearRows, row } from './tensors.ts';

interface EndSizes {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly normEpsilon: number;
}

/** An embedding of the tokens, RMSNorm, and a head, as which the embedding serves where a file has no other. */
export function plainEnds(sizes: EndSizes) {
  const { vocabularySize, hiddenSize } = sizes;
  const table = [row('token_embd.weight', 'model.embed_tokens.weight', [vocabularySize, hiddenSize])];
  const head = linearRows('output', 'lm_head', [vocabularySize, hiddenSize], { optional: true });
  return {
    embedding: block('embedding', [], table, (l, ids) => l.take('token_embd.weight', ids)),
    norm: rmsNorm('output_norm', 'model.norm', sizes),
    head: block('head', [], head, (l, x) => l.linear(x, l.has('output.weight') ? 'output' : 'token_embd')),
  };
}
