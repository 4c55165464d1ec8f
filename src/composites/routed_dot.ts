/**
 * Products of a mixture of experts: every token with the matrices of the experts that it was routed to. Gate, up and down of
 * experts are each one of these, and a device can group the tokens of a step by expert, so that a matrix is read once.
 *
 * A row of the result depends on its token and its expert alone; `numerics` is as in quantized_dot.ts.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, type Dim, formatType } from '../ir/types.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import { type Composite, emit } from './composite.ts';
import { type DotNumerics, panelRows } from './quantized_dot.ts';

export type RoutedDotAttributes = {
  readonly format: string;
  readonly numerics: DotNumerics;
};

export interface RoutedShape {
  /** T. */
  readonly tokens: Dim;
  /** Experts of a token. */
  readonly chosen: number;
  readonly experts: number;
  readonly N: number;
  readonly K: number;
  /** One row of x serves all experts of its token; else each has its own. */
  readonly shared: boolean;
}

/** @throws IngotError 'InvalidProgram' where the operands do not fit. */
export function routedShape([x, weight, ids]: readonly Value[]): RoutedShape {
  const [xShape, wShape, idShape] = [x, weight, ids].map(({ type }) => asTensor(type).shape);
  const [experts, N, K] = wShape;
  const [tokens, chosen] = idShape;
  const rows = xShape.slice(0, -1);
  const fits =
    wShape.length === 3 &&
    idShape.length === 2 &&
    typeof experts === 'number' &&
    typeof N === 'number' &&
    typeof K === 'number' &&
    typeof chosen === 'number' &&
    xShape.at(-1) === K &&
    (rows.length === 1 || (rows.length === 2 && rows[1] === chosen));
  if (!fits) {
    const types = [x, weight, ids].map(({ type }) => formatType(type));
    throw new IngotError('InvalidProgram', `routed_dot: x, weight and ids do not fit: ${types.join(', ')}`);
  }
  return { tokens, chosen, experts, N, K, shared: rows.length === 1 };
}

export const routedDotComposite: Composite<RoutedDotAttributes> = {
  name: 'routed_dot',
  decompose(b, operands) {
    const { tokens, chosen, N, K, shared } = routedShape(operands);
    const [x, weight, ids] = operands;
    const count = b.reduce('add', b.full('i32', [tokens], 1), 0, [0]);
    // Token by token: all at once the matrices of all of them would lie in memory.
    const [, y] = b.while(
      [b.scalar('i32', 0), b.full('f32', [tokens, chosen, N], 0)],
      (c, t) => c.compare('LT', t, count),
      (body, t, done) => {
        const matrices = body.convert(body.take(weight, body.take(ids, t)), 'f32');
        const row = body.convert(body.take(x, t), 'f32');
        const rows = shared ? body.broadcast(row, [chosen, K], [1]) : row;
        const product = body.dot(rows, matrices, { batch: [[0, 0]], contract: [[1, 2]] });
        return [
          body.add(t, body.scalar('i32', 1)),
          body.put(done, body.reshape(t, [1]), body.reshape(product, [1, chosen, N])),
        ];
      },
    );
    return [y];
  },
  sharding(operands, { format }) {
    const { shared } = routedShape(operands);
    const x = asTensor(operands[0].type).shape.length - 1;
    return {
      factors: [
        { operands: [0, undefined, 0], results: [0] },
        { operands: [shared ? undefined : 1, undefined, 1], results: [1] },
        { operands: [undefined, 1, undefined], results: [2], aligned: [undefined, panelRows] },
        {
          operands: [x, 2, undefined],
          results: [undefined],
          fold: 'add',
          units: [undefined, blockFormat(format).blockSize],
        },
        // A rank multiplies with the experts that it has.
        { operands: [undefined, 0, undefined], results: [undefined], fold: 'add', index: 2 },
      ],
      linear: { kind: 'each', operands: [0] },
      fixed: [1],
    };
  },
};

/**
 * `x` [T, K] or, a row for each expert of a token, [T, k, K]; `weight` [E, N, K] stored in block format `format`; `ids` i32
 * [T, k] from 0 to E - 1, others clamp. The result is f32 [T, k, N].
 */
export function routedDot(b: Builder, x: Value, weight: Value, ids: Value, attributes: RoutedDotAttributes): Value {
  return emit(b, routedDotComposite, [x, weight, ids], attributes)[0];
}
