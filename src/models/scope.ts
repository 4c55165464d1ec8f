/**
 * What a part of a model is built with: the builder, and by their short names the inputs of the step, the tensors and
 * the state that the part has. The blocks of models (`attention.ts`, `feed-forward.ts`) are functions of a scope.
 */
import { layerNorm } from '../composites/layer_norm.ts';
import { quantizedDot } from '../composites/quantized_dot.ts';
import { quantizedTake } from '../composites/quantized_take.ts';
import { rmsNorm } from '../composites/rms_norm.ts';
import { routedDot } from '../composites/routed_dot.ts';
import { stepDims } from '../composites/step.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import type { SymbolicDim } from '../ir/types.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { BuildOptions } from './model.ts';

export class Scope {
  readonly b: Builder;
  readonly options: BuildOptions;
  /** Tokens of the step. */
  readonly T: SymbolicDim;
  readonly #values: ReadonlyMap<string, Value>;
  readonly #formats: ReadonlyMap<string, string>;
  readonly #updated = new Map<string, Value>();

  /** `formats` of the tensors among `values`. */
  constructor(
    b: Builder,
    options: BuildOptions,
    values: ReadonlyMap<string, Value>,
    formats: ReadonlyMap<string, string>,
  ) {
    this.b = b;
    this.options = options;
    this.T = stepDims(options.limits).T;
    this.#values = values;
    this.#formats = formats;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  value(name: string): Value {
    const value = this.#updated.get(name) ?? this.#values.get(name);
    if (value === undefined) throw new Error(`this part of the model has no ${name}`);
    return value;
  }

  optional(name: string): Value | undefined {
    return this.has(name) ? this.value(name) : undefined;
  }

  formatOf(tensor: string): string {
    return this.#formats.get(tensor) ?? 'f32';
  }

  /** A new value of a state; what reads it from here on reads this one. */
  update(state: string, value: Value): void {
    this.#updated.set(state, value);
  }

  /** `x @ weight^T`, plus the bias where the model has one. */
  linear(x: Value, name: string): Value {
    const format = this.formatOf(`${name}.weight`);
    const bias = this.optional(`${name}.bias`);
    const numerics = dotNumerics(format, this.options.numerics);
    return quantizedDot(this.b, x, this.value(`${name}.weight`), {
      format,
      numerics,
      ...(bias !== undefined && { bias }),
    });
  }

  /** The same with the matrices of experts `ids` [T, k], for x [T, K] or [T, k, K]; the result is [T, k, N]. */
  routed(x: Value, name: string, ids: Value): Value {
    const format = this.formatOf(`${name}.weight`);
    const numerics = dotNumerics(format, this.options.numerics);
    const product = routedDot(this.b, x, this.value(`${name}.weight`), ids, { format, numerics });
    return this.has(`${name}.bias`) ? this.b.add(product, this.take(`${name}.bias`, ids)) : product;
  }

  /** Rows of a table at `ids`. */
  take(name: string, ids: Value): Value {
    return quantizedTake(this.b, this.value(name), ids, { format: this.formatOf(name) });
  }

  rmsNorm(x: Value, name: string, epsilon: number): Value {
    return rmsNorm(this.b, x, this.value(`${name}.weight`), epsilon);
  }

  /** With a bias where the model has one. */
  layerNorm(x: Value, name: string, epsilon: number): Value {
    return layerNorm(this.b, x, this.value(`${name}.weight`), this.optional(`${name}.bias`), epsilon);
  }
}

/** Weights that are floats as they stand have no integers to multiply. */
function dotNumerics(format: string, wanted: BuildOptions['numerics']): BuildOptions['numerics'] {
  return wanted === 'i8' && blockFormat(format).integers === undefined ? 'f32' : wanted;
}
