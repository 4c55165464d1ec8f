/**
 * Finds what imported programs spell out: `dot_general(x, dequantize(w))` and `gather(dequantize(w), ids)` become
 * `quantized_dot` and `quantized_take`, so that no device needs the weight in f32. A weight is anything that depends on
 * weights and constants alone. Only f32 arithmetic is raised, and results keep their bits.
 */
import { compositePrefix } from '../composites/composite.ts';
import { affineDot, quantizedDot, quantizedDotComposite } from '../composites/quantized_dot.ts';
import { affineTake, quantizedTake, quantizedTakeComposite } from '../composites/quantized_take.ts';
import type { Op, OpOf, Program, Value } from '../ir/program.ts';
import { rewriteProgram, type Site } from '../ir/rewrite.ts';
import { asTensor, type Dim } from '../ir/types.ts';
import { callee, reachable, walk } from '../ir/walk.ts';
import { dce } from './dce.ts';
import { emitAffine, emitFloat, matchStored } from './stored-weight.ts';
import { weightsOnly } from './weights-only.ts';

const raised: readonly string[] = [quantizedDotComposite, quantizedTakeComposite].map(
  ({ name }) => compositePrefix + name,
);

export function raise(program: Program): Program {
  const fixed = weightsOnly(program);
  const done = decompositions(program);
  const result = rewriteProgram(program, (op, site) => {
    if (done.has(op)) return undefined;
    if (op.name === 'dot_general') return raiseDot(op, site, fixed);
    if (op.name === 'gather') return raiseTake(op, site, fixed);
    return undefined;
  });
  // What has been raised leaves its spelling behind.
  return result === program ? program : dce(result);
}

/** Ops of the functions that say what the two composites mean. */
function decompositions(program: Program): ReadonlySet<Op> {
  const found = new Set<Op>();
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (op.name !== 'composite' || !raised.includes(op.attributes.name)) continue;
      const decomposition = callee(program, op);
      if (decomposition !== undefined) for (const inner of walk(decomposition)) found.add(inner);
    }
  }
  return found;
}

function raiseDot(op: OpOf<'dot_general'>, site: Site, fixed: ReadonlySet<Value>): readonly Value[] | undefined {
  const a = op.attributes;
  const contracted = [a.lhs_contracting_dimensions, a.rhs_contracting_dimensions];
  if (a.lhs_batching_dimensions.length > 0 || contracted[0].length !== 1) return undefined;
  const side = op.operands.findIndex((value, i) => fixed.has(value) && !fixed.has(op.operands[1 - i]));
  const all = [...op.operands, ...op.results];
  if (side < 0 || all.some(({ type }) => asTensor(type).element !== 'f32')) return undefined;
  const stored = matchStored(op.operands[side], 1 - contracted[side][0]);
  if (stored === undefined) return undefined;

  const { b } = site;
  const x = lastDimension(site, site.operands[1 - side], contracted[1 - side][0]);
  const product =
    stored.kind === 'float'
      ? quantizedDot(b, x, emitFloat(stored, site), { format: stored.format, numerics: 'f32' })
      : affineDot(b, x, emitAffine(stored, site), { numerics: 'f32' });
  // Free dimensions of the left operand come first.
  const rank = asTensor(product.type).shape.length;
  return [side === 1 ? product : b.transpose(product, [rank - 1, ...Array(rank - 1).keys()])];
}

/** The value with dimension `d` moved to the end. */
function lastDimension({ b }: Site, value: Value, d: number): Value {
  const dims = [...asTensor(value.type).shape.keys()];
  return d === dims.length - 1 ? value : b.transpose(value, [...dims.filter((other) => other !== d), d]);
}

/** Rows of a matrix, as `take` and array libraries spell it. */
function raiseTake(op: OpOf<'gather'>, site: Site, fixed: ReadonlySet<Value>): readonly Value[] | undefined {
  const [table, ids] = op.operands;
  const a = op.attributes;
  const { shape } = asTensor(table.type);
  const { shape: indices } = asTensor(ids.type);
  const batch: readonly Dim[] = indices.filter((_, d) => d !== a.index_vector_dim);
  const takesRows =
    shape.length === 2 &&
    a.index_vector_dim >= indices.length - 1 &&
    a.collapsed_slice_dims.join() === '0' &&
    a.start_index_map.join() === '0' &&
    a.slice_sizes[1] === shape[1] &&
    a.slice_sizes[0] === 1 &&
    a.offset_dims.join() === String(batch.length);
  if (!takesRows || !fixed.has(table) || fixed.has(ids)) return undefined;
  const stored = matchStored(table, 0);
  if (stored === undefined) return undefined;
  if (batch.length !== 1 && batch.some((dim) => typeof dim !== 'number')) return undefined;

  const { b, operands } = site;
  const flat: readonly Dim[] = batch.length === 1 ? batch : [batch.reduce<number>((n, dim) => n * Number(dim), 1)];
  const list = b.reshape(operands[1], flat);
  const rows =
    stored.kind === 'float'
      ? quantizedTake(b, emitFloat(stored, site), list, { format: stored.format })
      : affineTake(b, emitAffine(stored, site), list);
  return [b.reshape(rows, asTensor(op.results[0].type).shape)];
}
