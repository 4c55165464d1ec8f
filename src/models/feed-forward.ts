/** Dense feed-forward parts as blocks. */
import { type Activation, gatedActivation } from '../composites/gated_activation.ts';
import { type Block, block } from './block.ts';
import { linearRows } from './tensors.ts';

interface FeedForwardSizes {
  readonly hiddenSize: number;
  readonly feedForwardSize: number;
}

/** `down(activation(gate(x)) * up(x))`. */
export function gatedFeedForward({ hiddenSize, feedForwardSize }: FeedForwardSizes, activation: Activation): Block {
  const rows = [
    ...linearRows('ffn_gate', 'mlp.gate_proj', [feedForwardSize, hiddenSize]),
    ...linearRows('ffn_up', 'mlp.up_proj', [feedForwardSize, hiddenSize]),
    ...linearRows('ffn_down', 'mlp.down_proj', [hiddenSize, feedForwardSize]),
  ];
  return block('gated', activation, rows, (l, x) => {
    const gated = gatedActivation(l.b, l.linear(x, 'ffn_gate'), l.linear(x, 'ffn_up'), activation);
    return l.linear(gated, 'ffn_down');
  });
}
