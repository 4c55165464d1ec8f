/** Gated linear units (Shazeer, https://arxiv.org/abs/2002.05202): `activation(gate) * up`. */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';

/** `gelu` is the exact one (normal distribution), `gelu_tanh` its tanh approximation. */
export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'relu';
export type GatedActivationAttributes = { readonly activation: Activation };

/** x / (1 + exp(-x)). */
function silu(b: Builder, x: Value): Value {
  return b.multiply(x, b.unary('logistic', x));
}

/** Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415, section 2. */
function geluTanh(b: Builder, x: Value): Value {
  const { element, shape } = asTensor(x.type);
  const full = (value: number) => b.full(element, shape, value);
  const cube = b.multiply(b.multiply(x, x), x);
  const inner = b.multiply(full(Math.sqrt(2 / Math.PI)), b.add(x, b.multiply(full(0.044715), cube)));
  return b.multiply(b.multiply(full(0.5), x), b.add(full(1), b.unary('tanh', inner)));
}

/**
 * log(erfc(z) / 2t) + z^2 as a polynomial in t = 2 / (2 + z), from t^0: a Chebyshev fit of our own over z in 0..13.4 (past
 * it exp(-z^2) is 0), 6.4e-8 at most from the true value.
 */
const upperTail = [
  -1.95864116, 0.999605989, 0.377980914, 0.0772511212, -0.127350711, 0.167049538, -1.00075084, 1.38905741, -0.780854653,
  0.163505276,
];

/** x times the normal distribution function, by its tail, which keeps its relative precision for negative x. */
function gelu(b: Builder, x: Value): Value {
  const { element, shape } = asTensor(x.type);
  const full = (value: number) => b.full(element, shape, value);
  const z = b.multiply(b.unary('abs', x), full(Math.SQRT1_2));
  const t = b.divide(full(2), b.add(z, full(2)));
  const polynomial = upperTail.reduceRight<Value | undefined>(
    (sum, c) => (sum === undefined ? full(c) : b.add(b.multiply(sum, t), full(c))),
    undefined,
  );
  const exponent = b.subtract(polynomial ?? full(0), b.multiply(z, z));
  const tail = b.multiply(t, b.exponential(exponent));
  const below = b.select(b.compare('LT', x, full(0)), tail, b.subtract(full(1), tail));
  return b.multiply(x, below);
}

function relu(b: Builder, x: Value): Value {
  const { element, shape } = asTensor(x.type);
  return b.maximum(x, b.full(element, shape, 0));
}

const activations: Record<Activation, (b: Builder, x: Value) => Value> = { silu, gelu, gelu_tanh: geluTanh, relu };

/** Of each element, without a gate. */
export function activate(b: Builder, x: Value, activation: Activation): Value {
  return activations[activation](b, x);
}

export const gatedActivationComposite: Composite<GatedActivationAttributes> = {
  name: 'gated_activation',
  decompose: (b, [gate, up], { activation }) => [b.multiply(activate(b, gate, activation), up)],
  sharding: ([gate]) => ({ factors: asTensor(gate.type).shape.map((_, d) => ({ operands: [d, d], results: [d] })) }),
};

/** `gate` and `up` of one type, any shape; the result is as they are. */
export function gatedActivation(b: Builder, gate: Value, up: Value, activation: Activation): Value {
  return emit(b, gatedActivationComposite, [gate, up], { activation })[0];
}
