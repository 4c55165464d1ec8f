/** Feed-forward parts of which a token uses some, as blocks. GGUF files have all experts of a layer in one tensor. */
import { gatedActivation } from '../composites/gated_activation.ts';
import { type RouteAttributes, route } from '../composites/route.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { type Block, block } from './block.ts';
import type { ExpertSizes } from './expert-setting.ts';
import { gatedFeedForward } from './feed-forward.ts';
import type { Scope } from './scope.ts';
import { linearRows, row, type TensorRow } from './tensors.ts';

interface Sizes extends ExpertSizes {
  readonly hiddenSize: number;
}

/** Hugging Face's names; '*' stands for the number of the expert. */
interface ExpertNames {
  readonly router: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

const usualExpertNames: ExpertNames = {
  router: 'mlp.gate',
  gate: 'mlp.experts.*.gate_proj',
  up: 'mlp.experts.*.up_proj',
  down: 'mlp.experts.*.down_proj',
};

type Routing = Omit<RouteAttributes, 'chosen' | 'scale'> & { readonly scale?: number };

/** The weighted sum of what the best experts make of a token, from the best one on. */
export function routedExperts(sizes: Sizes, routing: Routing, names: ExpertNames = usualExpertNames): Block {
  const rows = [...routerRows(sizes, names.router), ...expertRows(sizes, names)];
  return block('experts', [routing, sizes.chosen], rows, (l, x) =>
    mix(l, x, sizes, routing, (gate, up) => gatedActivation(l.b, gate, up, 'silu')),
  );
}

/**
 * A gated part that every token uses, beside the routed ones: `below` are Hugging Face's names. With a `gate` [hiddenSize] it
 * counts as much as the logistic function of the product with x says.
 */
export function sharedExpert(
  sizes: { readonly hiddenSize: number; readonly feedForwardSize: number },
  below: string,
  gate?: string,
): Block {
  const inner = gatedFeedForward(sizes, 'silu', { suffix: '_shexp', below });
  if (gate === undefined) return inner;
  const name = 'ffn_gate_inp_shexp.weight';
  const asVector = (stored: StoredTensor) => ({ ...stored, shape: stored.shape.slice(-1) });
  const rows = [row(name, `${gate}.weight`, [sizes.hiddenSize], { view: asVector }), ...inner.rows];
  return block('shared_expert', inner.key, rows, (l, x) => {
    const { b } = l;
    const share = b.unary('logistic', b.dot(x, l.value(name), { contract: [[1, 0]] }));
    return b.multiply(inner.build(l, x), b.broadcast(share, asTensor(x.type).shape, [0]));
  });
}

/** `activation` of gate and up, both [T, k, expertSize]. */
export function mix(
  l: Scope,
  x: Value,
  { chosen }: Sizes,
  routing: Routing,
  activation: (gate: Value, up: Value) => Value,
): Value {
  const { ids, weights } = route(l.b, l.linear(x, 'ffn_gate_inp'), { scale: 1, ...routing, chosen });
  const hidden = activation(l.routed(x, 'ffn_gate_exps', ids), l.routed(x, 'ffn_up_exps', ids));
  // A product adds in ascending order, as no other sum does.
  return l.b.dot(weights, l.routed(hidden, 'ffn_down_exps', ids), { batch: [[0, 0]], contract: [[1, 1]] });
}

export function routerRows({ experts, hiddenSize }: Sizes, name: string): readonly TensorRow[] {
  return linearRows('ffn_gate_inp', name, [experts, hiddenSize], { exact: true });
}

function expertRows({ experts, chosen, expertSize, hiddenSize }: Sizes, names: ExpertNames): readonly TensorRow[] {
  const stack = (gguf: string, name: string, shape: readonly [number, number]) =>
    row(`${gguf}.weight`, `${name}.weight`, [experts, ...shape], { chosen });
  return [
    stack('ffn_gate_exps', names.gate, [expertSize, hiddenSize]),
    stack('ffn_up_exps', names.up, [expertSize, hiddenSize]),
    stack('ffn_down_exps', names.down, [hiddenSize, expertSize]),
  ];
}
