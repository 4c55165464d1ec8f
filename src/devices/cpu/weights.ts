/**
 * Which values of a program are matrices in panels (`kernels/packing.ts`), or stacks of them: weight parameters with a
 * format, wherever calls pass them. Only the kernels of composites can read those, so products with them become composites, and any other use
 * is refused: it would have to decode the weight in memory.
 */
import { IngotError } from '../../base/errors.ts';
import { quantizedDot } from '../../composites/quantized_dot.ts';
import type { Op, OpOf, Program, Value } from '../../ir/program.ts';
import { rewriteProgram } from '../../ir/rewrite.ts';
import { asTensor, isStatic, staticShape } from '../../ir/types.ts';
import { callee, reachable, reads, walk } from '../../ir/walk.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { WeightSource } from '../device.ts';
import { isPackedFormat } from './kernels/packing.ts';

/** Format in which each packed value lies. */
export type PackedValues = ReadonlyMap<Value, string>;

/** The format of the panels of a weight; undefined if it lies as plain elements. */
export function panelFormat(format: string | undefined, rank: number): string | undefined {
  return format !== undefined && (rank === 2 || rank === 3) && isPackedFormat(format) ? format : undefined;
}

/** Whether a weight is to lie in panels. Blocks without a layout are refused where they are packed: decoded they would take many times their memory. */
export function isPacked({ format, shape }: Pick<WeightSource, 'format' | 'shape'>): boolean {
  return panelFormat(format, shape.length) !== undefined || (shape.length > 1 && blockFormat(format).blockSize > 1);
}

/** @throws IngotError 'UnsupportedOp' if a function is called with packed and with plain weights for one parameter. */
export function packedValues(program: Program): PackedValues {
  const packed = new Map<Value, string>();
  program.main.parameters.forEach((value, i) => {
    const { role, format, type } = program.parameters[i];
    const panels = role === 'weight' ? panelFormat(format, type.shape.length) : undefined;
    if (panels !== undefined) packed.set(value, panels);
  });
  const given = new Map<Value, string | undefined>();
  // Callers come before callees.
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (op.name !== 'call') continue;
      callee(program, op)?.parameters.forEach((parameter, i) => {
        const format = packed.get(op.operands[i]);
        if (given.has(parameter) && given.get(parameter) !== format) {
          throw refused(op, 'a function is called with weights of different layouts');
        }
        given.set(parameter, format);
        if (format !== undefined) packed.set(parameter, format);
      });
    }
  }
  return packed;
}

/** Products of main with packed weights as composites, in f32. */
export function raiseProducts(program: Program): Program {
  const packed = packedValues(program);
  return rewriteProgram(program, (op, site) => {
    const format = op.name === 'dot_general' ? packed.get(op.operands[1]) : undefined;
    if (op.name !== 'dot_general' || format === undefined || !isPlainProduct(op)) return undefined;
    return [quantizedDot(site.b, site.operands[0], site.operands[1], { format, numerics: 'f32' })];
  });
}

/** `x [.., K]` times `w [N, K]`, f32. */
function isPlainProduct({ operands: [x, w], attributes, results }: OpOf<'dot_general'>): boolean {
  const [left, right] = [asTensor(x.type), asTensor(w.type)];
  const { lhs_batching_dimensions, lhs_contracting_dimensions: lhs, rhs_contracting_dimensions: rhs } = attributes;
  return (
    lhs_batching_dimensions.length === 0 &&
    lhs.length === 1 &&
    lhs[0] === left.shape.length - 1 &&
    rhs[0] === 1 &&
    left.element === 'f32' &&
    asTensor(results[0].type).element === 'f32' &&
    isStatic(right) &&
    staticShape(right).length === 2
  );
}

/** @throws IngotError 'UnsupportedOp' naming an op that reads a packed weight and is no kernel. */
export function checkPackedUses(program: Program, packed: PackedValues, isKernel: (op: Op) => boolean): void {
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (op.name === 'call' || isKernel(op)) continue;
      for (const value of reads(op)) {
        const format = packed.get(value);
        // Regions are walked themselves.
        if (format === undefined || !op.operands.includes(value)) continue;
        throw refused(op, `it reads a weight that is stored as ${format}, which would have to be decoded in memory`);
      }
    }
  }
}

function refused(op: Pick<Op, 'name'>, why: string): IngotError {
  return new IngotError('UnsupportedOp', `the cpu device cannot run ${op.name}: ${why}`, {
    op: op.name,
    device: 'cpu',
    hint: 'use the reference device, or multiply by the weight with quantized_dot',
  });
}
