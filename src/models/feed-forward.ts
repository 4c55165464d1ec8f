/** Dense feed-forward parts as blocks. */
import { type Activation, activate, gatedActivation } from '../composites/gated_activation.ts';
import { type Block, block } from './block.ts';
import { linearRows, type View } from './tensors.ts';

interface FeedForwardSizes {
  readonly hiddenSize: number;
  readonly feedForwardSize: number;
}

/** `down(activation(gate(x)) * up(x))`; `suffix` is of GGUF's names, `below` of Hugging Face's. */
export function gatedFeedForward(
  { hiddenSize, feedForwardSize }: FeedForwardSizes,
  activation: Activation,
  { suffix, below }: { readonly suffix: string; readonly below: string } = { suffix: '', below: 'mlp' },
): Block {
  const [gate, up, down] = ['gate', 'up', 'down'].map((part) => `ffn_${part}${suffix}`);
  const rows = [
    ...linearRows(gate, `${below}.gate_proj`, [feedForwardSize, hiddenSize]),
    ...linearRows(up, `${below}.up_proj`, [feedForwardSize, hiddenSize]),
    ...linearRows(down, `${below}.down_proj`, [hiddenSize, feedForwardSize]),
  ];
  return block('gated', [activation, suffix], rows, (l, x) =>
    l.linear(gatedActivation(l.b, l.linear(x, gate), l.linear(x, up), activation), down),
  );
}

/** The same where one matrix has the rows of the gate, then those of `up`. */
export function fusedFeedForward({ hiddenSize, feedForwardSize }: FeedForwardSizes, activation: Activation): Block {
  const rows = [
    ...linearRows('ffn_up', 'mlp.gate_up_proj', [2 * feedForwardSize, hiddenSize]),
    ...linearRows('ffn_down', 'mlp.down_proj', [hiddenSize, feedForwardSize]),
  ];
  return block('fused_gated', activation, rows, (l, x) => {
    const both = l.linear(x, 'ffn_up');
    const [gate, up] = [0, 1].map((i) => l.b.slice(both, 1, i * feedForwardSize, (i + 1) * feedForwardSize));
    return l.linear(gatedActivation(l.b, gate, up, activation), 'ffn_down');
  });
}

/** `down(activation(up(x)))`; `names` are Hugging Face's. */
export function plainFeedForward(
  { hiddenSize, feedForwardSize }: FeedForwardSizes,
  activation: Activation,
  names: { readonly up: string; readonly down: string },
  view?: View,
): Block {
  const rows = [
    ...linearRows('ffn_up', names.up, [feedForwardSize, hiddenSize], { view }),
    ...linearRows('ffn_down', names.down, [hiddenSize, feedForwardSize], { view }),
  ];
  return block('plain', activation, rows, (l, x) =>
    l.linear(activate(l.b, l.linear(x, 'ffn_up'), activation), 'ffn_down'),
  );
}
