/** Normalizations as blocks. */
import { type Block, block } from './block.ts';
import { row } from './tensors.ts';

interface NormSizes {
  readonly hiddenSize: number;
  readonly normEpsilon: number;
}

/** RMSNorm over the whole of x; tensors `<gguf>.weight`, `<huggingface>.weight`. */
export function rmsNorm(gguf: string, huggingface: string, { hiddenSize, normEpsilon }: NormSizes): Block {
  const rows = [row(`${gguf}.weight`, `${huggingface}.weight`, [hiddenSize])];
  return block('rms_norm', [gguf, normEpsilon], rows, (l, x) => l.rmsNorm(x, gguf, normEpsilon));
}
