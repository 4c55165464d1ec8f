/**
 * Recognizes matrices that a program computes from stored weights: `convert(w)` of f16 or bf16, and
 * `(convert(q) - zeroPoints) * scales + minima` in f32, where the parts have an entry a row, or a row and group of
 * columns, and are spread over the matrix by broadcasts, reshapes and lossless conversions.
 */
import type { AffineWeight } from '../composites/quantized_weight.ts';
import type { OpName } from '../ir/attributes.ts';
import type { Value } from '../ir/program.ts';
import type { Site } from '../ir/rewrite.ts';
import { asTensor, isStatic, staticShape, tensor } from '../ir/types.ts';
import { definedBy } from '../ir/walk.ts';
import { elementTypes } from '../numerics/element-types.ts';
import { isInteger, isLossless } from './conversions.ts';

/** What a dimension of the computed matrix (or of the same seen in three dimensions) counts. */
type Axis = 'row' | 'column' | 'group' | 'inGroup';

/** `source` holds one element for each entry of its axes; those of its dimensions that count nothing are `undefined`. */
interface Part {
  readonly source: Value;
  readonly axes: readonly (Axis | undefined)[];
}

interface Parts {
  readonly scales: Part;
  readonly zeroPoints?: Part;
  readonly minima?: Part;
}

/** A stored matrix in its own orientation; `rowDim` is the dimension that counts rows. */
export type StoredWeight =
  | { readonly kind: 'float'; readonly weight: Value; readonly rowDim: number; readonly format: 'f16' | 'bf16' }
  | {
      readonly kind: 'affine';
      readonly quantized: Value;
      readonly shape: readonly number[];
      readonly rowDim: number;
      readonly groups: number;
      readonly parts: Parts;
    };

/** `value` as a matrix whose dimension `rowDim` counts rows; undefined if it is not computed from a stored one. */
export function matchStored(value: Value, rowDim: number): StoredWeight | undefined {
  const { element, shape } = asTensor(value.type);
  if (element !== 'f32' || shape.length !== 2 || !isStatic(asTensor(value.type))) return undefined;
  const transposed = definedBy(value, 'transpose');
  if (transposed !== undefined) {
    return matchStored(transposed.operands[0], transposed.attributes.permutation[rowDim]);
  }
  const converted = definedBy(value, 'convert')?.operands[0];
  const from = converted && asTensor(converted.type).element;
  if (converted !== undefined && (from === 'f16' || from === 'bf16')) {
    return { kind: 'float', weight: converted, rowDim, format: from };
  }
  return matchAffine(value, rowDim);
}

function matchAffine(value: Value, rowDim: number): StoredWeight | undefined {
  const shape = staticShape(asTensor(value.type));
  const grouped = definedBy(value, 'reshape')?.operands[0];
  const wide = grouped && staticShape(asTensor(grouped.type));
  const [inner, axes, groups]: [Value, readonly Axis[], number] =
    grouped !== undefined && wide?.length === 3 && wide[2 * rowDim] === shape[rowDim]
      ? [grouped, rowDim === 0 ? ['row', 'group', 'inGroup'] : ['group', 'inGroup', 'row'], wide[1 - rowDim]]
      : [value, rowDim === 0 ? ['row', 'column'] : ['column', 'row'], 1];
  const minima = splitOff(inner, 'add', axes);
  const scaled = splitOff(minima?.rest ?? inner, 'multiply', axes);
  if (scaled === undefined) return undefined;
  const zeroed = splitOff(scaled.rest, 'subtract', axes) ?? splitOffInteger(scaled.rest, axes);
  const quantized = integersOf(zeroed?.rest ?? scaled.rest);
  if (quantized === undefined) return undefined;
  const parts: Parts = {
    scales: scaled.part,
    ...(zeroed && { zeroPoints: zeroed.part }),
    ...(minima && { minima: minima.part }),
  };
  const usesGroups = Object.values<Part>({ ...parts }).some((part) => part.axes.includes('group'));
  return { kind: 'affine', quantized, shape, rowDim, groups: usesGroups ? groups : 1, parts };
}

interface Split {
  readonly part: Part;
  readonly rest: Value;
}

/** `value` as an op of the rest and a part; of a commutative op the part may be either operand. */
function splitOff(value: Value, name: 'add' | 'multiply' | 'subtract', axes: readonly Axis[]): Split | undefined {
  const op = definedBy(value, name satisfies OpName);
  if (op === undefined) return undefined;
  const [left, right] = op.operands;
  const part = partOf(right, axes);
  if (part !== undefined) return { part, rest: left };
  const other = name === 'subtract' ? undefined : partOf(left, axes);
  return other && { part: other, rest: right };
}

/** Zero points subtracted as integers, in a type in which that cannot wrap: the same number in f32. */
function splitOffInteger(value: Value, axes: readonly Axis[]): Split | undefined {
  const difference = definedBy(value, 'convert')?.operands[0];
  if (difference === undefined) return undefined;
  const { class: kind, bits } = elementTypes[asTensor(difference.type).element];
  const split = splitOff(difference, 'subtract', axes);
  const stored = split && integersOf(split.rest);
  if (split === undefined || stored === undefined || kind !== 'signed') return undefined;
  const widths = [stored, split.part.source].map((v) => elementTypes[asTensor(v.type).element].bits);
  return Math.max(...widths) <= Math.min(16, bits - 2) ? split : undefined;
}

/** The source of a value that is the same along columns; undefined if it is not. */
function partOf(value: Value, axes: readonly Axis[]): Part | undefined {
  let part: Part = { source: value, axes };
  for (let step: Part | undefined = part; step !== undefined; step = stepOf(part)) part = step;
  const isSpread = part.axes.every((axis) => axis === undefined || axis === 'row' || axis === 'group');
  return isSpread ? part : undefined;
}

/** One op further back. */
function stepOf({ source, axes }: Part): Part | undefined {
  const op = source.owner;
  if (op.kind !== 'op') return undefined;
  const shape = staticShape(asTensor(source.type));
  switch (op.name) {
    case 'constant':
      // A splat is the same along every axis; it is emitted as the one element that it is.
      return op.attributes.value.splat && axes.some((axis) => axis !== undefined)
        ? { source, axes: axes.map(() => undefined) }
        : undefined;
    case 'broadcast_in_dim': {
      const from = staticShape(asTensor(op.operands[0].type));
      const dims = op.attributes.broadcast_dimensions;
      return { source: op.operands[0], axes: dims.map((d, i) => (from[i] === 1 ? undefined : axes[d])) };
    }
    case 'reshape': {
      const from = staticShape(asTensor(op.operands[0].type));
      const counted = axes.filter((_, d) => shape[d] !== 1);
      const same = shape.filter((n) => n !== 1).join() === from.filter((n) => n !== 1).join();
      let next = 0;
      return same
        ? { source: op.operands[0], axes: from.map((n) => (n === 1 ? undefined : counted[next++])) }
        : undefined;
    }
    case 'convert': {
      const [operand] = op.operands;
      const lossless = isLossless(asTensor(operand.type).element, asTensor(source.type).element);
      return lossless ? { source: operand, axes } : undefined;
    }
    default:
      return undefined;
  }
}

/** The integers that are converted, and perhaps reshaped, to this value. */
function integersOf(value: Value): Value | undefined {
  let found: Value | undefined = isInteger(asTensor(value.type).element) ? value : undefined;
  for (let at = value; at.owner.kind === 'op'; ) {
    const op = at.owner;
    if (op.name !== 'convert' && op.name !== 'reshape') break;
    const [operand] = op.operands;
    const [from, to] = [asTensor(operand.type).element, asTensor(at.type).element];
    if (from !== to && !isLossless(from, to) && !(isInteger(from) && to === 'f32')) break;
    at = operand;
    if (isInteger(from)) found = at;
  }
  return found;
}

// ── the same in the new program, rows first ──

export function emitFloat(stored: StoredWeight & { kind: 'float' }, { b, map }: Site): Value {
  const weight = map(stored.weight);
  return stored.rowDim === 0 ? weight : b.transpose(weight, [1, 0]);
}

export function emitAffine(
  { quantized, shape, rowDim, groups, parts }: StoredWeight & { kind: 'affine' },
  site: Site,
): AffineWeight {
  const { b, map } = site;
  const matrix = b.reshape(map(quantized), shape);
  const rows = shape[rowDim];
  const emit = ({ source, axes }: Part): Value => {
    const constant = definedBy(source, 'constant')?.attributes.value;
    const { element } = asTensor(source.type);
    const counted = axes.filter((axis) => axis !== undefined);
    const sizes = staticShape(asTensor(source.type)).filter((_, d) => axes[d] !== undefined);
    const entries =
      constant?.splat && counted.length === 0
        ? b.literal({ ...constant, type: tensor(element), splat: false })
        : b.reshape(map(source), sizes);
    return b.broadcast(
      entries,
      [rows, groups],
      counted.map((axis) => (axis === 'row' ? 0 : 1)),
    );
  };
  return {
    quantized: rowDim === 0 ? matrix : b.transpose(matrix, [1, 0]),
    scales: emit(parts.scales),
    ...(parts.zeroPoints && { zeroPoints: emit(parts.zeroPoints) }),
    ...(parts.minima && { minima: emit(parts.minima) }),
  };
}
