/** Kernels that go along rows, each on its own: what they do to the first of them, and how far the next one lies. */
import type { DimSymbol } from '../../ir/types.ts';
import { strideAlong } from './affine.ts';
import { mapOperands, operandsOf } from './expressions.ts';
import { addIndex, constantIndex, indexConstant, multiplyIndex, subtractIndex } from './index-arithmetic.ts';
import type { Axis, Buffer, Expression, Kernel, Local, Statement } from './language.ts';
import { mapStatements } from './map-statements.ts';
import { expressionsOf, statementsOf } from './walk-kernel.ts';

export interface RowOfKernel {
  /** How many there are. */
  readonly rows: number | DimSymbol;
  /** Of the first row. */
  readonly kernel: Kernel;
  /** Elements from a row to the next, of each buffer. */
  readonly strides: readonly number[];
}

/** Undefined where threads share anything but rows, or memory does not move with them evenly. */
export function rowOf(kernel: Kernel): RowOfKernel | undefined {
  const [loop, ...others] = kernel.body;
  if (loop?.kind !== 'for' || loop.axis.kind !== 'parallel' || others.length > 0) return undefined;
  const { axis, body } = loop;
  const [inner, ...more] = body;
  if (inner?.kind === 'for' && inner.axis.kind === 'parallel' && more.length === 0) return undefined;
  const rows = axis.extent.kind === 'dim' ? axis.extent.sym : constantIndex(axis.extent);
  const strides = stridesAlong(axis, body);
  if (rows === undefined || strides === undefined || kernel.privates.some((buffer) => strides.get(buffer))) {
    return undefined;
  }
  const named = [...expressionsOf(body)].flatMap((e) => (e.kind === 'dim' ? [e.sym] : []));
  return {
    rows,
    kernel: {
      ...kernel,
      dims: kernel.dims.filter((sym) => named.includes(sym)),
      // Extents do not depend on it.
      body: mapStatements(body, { expression: (e) => first(e, axis) }),
    },
    strides: kernel.buffers.map((buffer) => strides.get(buffer) ?? 0),
  };
}

/** By how much the places in each buffer move with an axis, if all of them do it alike. */
function stridesAlong(axis: Axis, body: readonly Statement[]): ReadonlyMap<Buffer, number> | undefined {
  const locals = new Map<Local, number | undefined>();
  const along = (e: Expression) => strideAlong(e, axis, (local) => locals.get(local));
  for (const s of statementsOf(body)) {
    if (s.kind === 'let') locals.set(s.local, along(s.value));
    if (s.kind === 'set' && along(s.value) !== 0) locals.set(s.local, undefined);
  }
  const strides = new Map<Buffer, number>();
  const isEven = (buffer: Buffer, index: Expression): boolean => {
    const stride = along(index);
    if (stride === undefined || stride !== (strides.get(buffer) ?? stride)) return false;
    strides.set(buffer, stride);
    return true;
  };
  const loops = [...statementsOf(body)].flatMap((s) =>
    s.kind === 'for' ? [s.axis] : s.kind === 'reduce' ? s.axes : [],
  );
  const even =
    loops.every(({ extent }) => along(extent) === 0) &&
    [...statementsOf(body)].every((s) => s.kind !== 'store' || isEven(s.buffer, s.index)) &&
    [...expressionsOf(body)].every((e) => {
      if (e.kind === 'load') return isEven(e.buffer, e.index);
      // The number of a row may say where things are, not what they are.
      const isPlace = e.type === 'index' && e.kind === 'binary';
      return isPlace || operandsOf(e).every((operand) => operand.type !== 'index' || along(operand) === 0);
    });
  return even ? strides : undefined;
}

/** Where the axis is 0. */
function first(e: Expression, axis: Axis): Expression {
  if (e.kind === 'axis') return e.axis === axis ? indexConstant(0) : e;
  return normal(mapOperands(e, (operand) => first(operand, axis)));
}

/** An index of operands that have changed, as sums of (atom * constant) again. */
function normal(e: Expression): Expression {
  if (e.kind !== 'binary' || e.type !== 'index') return e;
  switch (e.op) {
    case 'add':
      return addIndex(e.a, e.b);
    case 'subtract':
      return subtractIndex(e.a, e.b);
    case 'multiply':
      return multiplyIndex(e.a, e.b);
    default:
      return e;
  }
}
