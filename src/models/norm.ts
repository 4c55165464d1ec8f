/** Normalizations of x as a whole, as blocks; tensors `<gguf>.weight` and `<huggingface>.weight`, and `.bias`. */
import { type Block, block } from './block.ts';
import { row, type View } from './tensors.ts';

interface NormSizes {
  readonly hiddenSize: number;
  readonly normEpsilon: number;
}

export function rmsNorm(gguf: string, huggingface: string, { hiddenSize, normEpsilon }: NormSizes, view?: View): Block {
  const rows = [row(`${gguf}.weight`, `${huggingface}.weight`, [hiddenSize], { view })];
  return block('rms_norm', [gguf, normEpsilon], rows, (l, x) => l.rmsNorm(x, gguf, normEpsilon));
}

export function layerNorm(gguf: string, huggingface: string, { hiddenSize, normEpsilon }: NormSizes): Block {
  const rows = ['weight', 'bias'].map((part) => row(`${gguf}.${part}`, `${huggingface}.${part}`, [hiddenSize]));
  return block('layer_norm', [gguf, normEpsilon], rows, (l, x) => l.layerNorm(x, gguf, normEpsilon));
}
