/**
 * A group of ops becomes kernels: most groups one, ops that start from a copy of an operand two. A value that several
 * outputs need is computed once a kernel.
 */
import type { Op, OpOf, Program, Value } from '../../ir/program.ts';
import { asTensor, type Dim, maxDim, maxElements, sameShape } from '../../ir/types.ts';
import { callee, definedBy, reads, walk } from '../../ir/walk.ts';
import { assigns } from '../fuse.ts';
import { addIndex, indexConstant, linearIndex, scaleIndex } from './index-arithmetic.ts';
import { isInline, reshapedIndex, shapeOf } from './index-maps.ts';
import type { Buffer } from './language.ts';
import { buildKernel, type KernelParts, type Launch, loopNest, type MemoryOf } from './launch.ts';
import { scatterUpdates, selectAndScatter, updateSlice } from './lower-scatter.ts';
import { sortLines } from './lower-sort.ts';
import { mergeLoops } from './merge-loops.ts';
import type { Index } from './scope.ts';

/** Ops of one group in program order, the values that they read from outside and those that others need. */
export interface OpGroup {
  readonly ops: readonly Op[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** In order of execution. @throws IngotError 'UnsupportedOp'. */
export function lowerGroup(program: Program, group: OpGroup, memory: MemoryOf): readonly Launch[] {
  return lowerByDimension(program, group, memory).map((launch) => ({ ...launch, kernel: mergeLoops(launch.kernel) }));
}

/** The same with a loop for every dimension. */
export function lowerByDimension(program: Program, group: OpGroup, memory: MemoryOf): readonly Launch[] {
  return new GroupLowering(program, group, memory).launches();
}

/** A copy of a value (a constant included) into other memory. */
export function lowerCopy(program: Program, value: Value, to: Value): readonly Launch[] {
  const type = asTensor(to.type);
  if (maxElements(type) === 0) return [];
  const inputs = isWritten(value) ? [] : [value];
  const moved = new Set([...inputs, ...(inputs.length > 0 ? [to] : [])]);
  const launch = buildKernel(
    'copy',
    program,
    (v) => v,
    inputs,
    [to],
    { straight: true, moved },
    ([out], { scope }) => {
      loopNest(scope, type.shape, true, (inner, index) => {
        inner.store(out, linearIndex(index, type.shape), inner.value(value, index));
      });
    },
  );
  return [{ ...launch, kernel: mergeLoops(launch.kernel) }];
}

/** A constant that is written into the kernels that use it. */
function isWritten(value: Value): boolean {
  return value.owner.kind === 'op' && value.owner.name === 'constant' && isInline(value.owner);
}

/** Ops that only move elements, and the operands that they move. */
function movedOperands(op: Op): readonly Value[] | undefined {
  switch (op.name) {
    case 'broadcast_in_dim':
    case 'transpose':
    case 'slice':
    case 'reverse':
    case 'reshape':
    case 'concatenate':
      return op.operands;
    case 'pad':
    case 'dynamic_slice':
    case 'gather':
      return op.operands.slice(0, 1);
    case 'dynamic_update_slice':
      return op.operands.slice(0, 2);
    case 'scatter':
      return assigns(op.regions[0], op.results.length) ? op.operands.toSpliced(op.results.length, 1) : undefined;
    default:
      return undefined;
  }
}

/** Ops that do not tell what a kernel is for where others compute something. */
const silent: ReadonlySet<Op['name']> = new Set([
  ...(['bitcast_convert', 'broadcast_in_dim', 'constant', 'convert', 'iota', 'reshape', 'slice', 'transpose'] as const),
]);
const namedOps = 6;

/** The ops of a kernel for people who look for it: the first few that compute, each once in a row. */
function nameOf(ops: readonly Op[]): string {
  const all = ops.map(({ name }) => name).filter((name) => name !== 'constant');
  const telling = all.filter((name) => !silent.has(name));
  const names = (telling.length > 0 ? telling : all).filter((name, i, list) => name !== list[i - 1]);
  const more = names.length - namedOps;
  return more > 1 ? `${names.slice(0, namedOps).join('_')}_and_${more}_more` : names.join('_');
}

/** How a kernel differs from one that reads the group's inputs and computes. */
interface Choices {
  readonly moved: readonly Value[] | undefined;
  readonly inputs: readonly Value[];
  readonly name: string;
  readonly updates: boolean;
  /** Its loops are over rows, and what is reduced is a number a row. */
  readonly afterFolds: boolean;
}

/** What loops run over for a value: over one of the parts that it is put together of. */
function loopsOf(value: Value): readonly Dim[] {
  return shapeOf(definedBy(value, 'concatenate')?.operands[0] ?? value);
}

const turnsOf = (dims: readonly Dim[]) => dims.reduce<number>((n, dim) => n * maxDim(dim), 1);

/** Values that a value is put together of, and where the element at an index of each is in it. */
function partsOf(value: Value, index: Index): readonly { readonly part: Value; readonly to: Index }[] {
  const whole = definedBy(value, 'concatenate');
  if (whole === undefined) return [{ part: value, to: index }];
  const { dimension } = whole.attributes;
  return whole.operands.map((part, i) => {
    const start = indexConstant(i * maxDim(shapeOf(part)[dimension]));
    return { part, to: index.with(dimension, addIndex(index[dimension], start)) };
  });
}

/** Threads share loops in lanes by 64 turns. */
const MANY_FOLDS = 256;

class GroupLowering {
  readonly #program: Program;
  readonly #group: OpGroup;
  readonly #memory: MemoryOf;
  readonly #name: string;
  readonly #inputs: readonly Value[];

  constructor(program: Program, group: OpGroup, memory: MemoryOf) {
    this.#program = program;
    this.#group = group;
    this.#memory = memory;
    this.#name = nameOf(group.ops);
    this.#inputs = group.inputs.filter((value) => value.type.kind === 'tensor' && !isWritten(value));
  }

  launches(): readonly Launch[] {
    const [op] = this.#group.ops;
    const scatters = this.#group.ops.filter((each) => each.name === 'scatter');
    if (scatters.length > 0) return this.#scatters(scatters);
    if (this.#group.ops.length === 1) {
      switch (op.name) {
        case 'concatenate':
          return this.#concatenate(op);
        case 'pad':
          return this.#pad(op);
        case 'dynamic_update_slice':
          return [...this.#begin(op), this.#whole(op, [0], (outs, kernel) => updateSlice(op, outs, kernel))];
        case 'select_and_scatter':
          return [this.#fill(op), this.#whole(op, [], (outs, kernel) => selectAndScatter(op, outs, kernel))];
        case 'sort':
          return [this.#whole(op, [], (outs, kernel) => sortLines(op, outs, kernel))];
        default:
      }
    }
    return this.#elements(this.#group.outputs);
  }

  /**
   * Lanes need statements without branches; what sums neighbours runs in lanes by itself, unless it is done before the loop in
   * lanes, or folds several values at once: then each lane folds a row of its own, if there are enough.
   */
  #isStraight(afterFolds: boolean): boolean {
    return this.#group.ops.every((op) => {
      const branches = (region: Parameters<typeof walk>[0]): boolean =>
        [...walk(region)].some((inner) => {
          if (inner.name === 'if' || inner.name === 'case' || inner.name === 'while') return true;
          const func = callee(this.#program, inner);
          return func !== undefined && branches(func);
        });
      if (op.regions.some(branches)) return false;
      if (op.name !== 'reduce' || afterFolds) return true;
      if (!op.attributes.dimensions.includes(shapeOf(op.operands[0]).length - 1)) return true;
      return op.results.length > 1 && maxElements(asTensor(op.results[0].type)) >= MANY_FOLDS;
    });
  }

  #kernel(
    outputs: readonly Value[],
    { moved, inputs = this.#inputs, name = this.#name, updates = false, afterFolds = false }: Partial<Choices>,
    write: (outs: readonly Buffer[], kernel: KernelParts) => void,
  ): Launch {
    const words = moved !== undefined && !moved.some(isWritten) ? new Set([...moved, ...outputs]) : undefined;
    const options = { straight: this.#isStraight(afterFolds), updates, ...(words && { moved: words }) };
    return buildKernel(name, this.#program, this.#memory, inputs, outputs, options, write);
  }

  /** Kernels that store every element of the outputs, as few as the shapes allow. */
  #elements(outputs: readonly Value[]): readonly Launch[] {
    const wanted = outputs.filter(
      (value) => value.type.kind === 'tensor' && maxElements(value.type) > 0 && !this.#isRenamed(value),
    );
    if (wanted.length === 0) return [];
    const size = (value: Value) => turnsOf(loopsOf(value));
    const folded = wanted.find(({ owner }) => owner.kind === 'op' && owner.name === 'reduce');
    const largest = wanted.reduce((best, value) => (size(value) >= size(best) ? value : best));
    const folds = this.#foldsFor(largest);
    const afterFolds = folds.some(({ results: [fold] }) => !sameShape(shapeOf(fold), shapeOf(largest)));
    const main = afterFolds ? largest : (folded ?? largest);
    const shape = loopsOf(main);
    const [op] = this.#group.ops;
    const moved = this.#group.ops.length === 1 ? movedOperands(op) : undefined;
    const left: Value[] = [];
    const launch = this.#kernel(wanted, { moved, afterFolds }, (outs, { scope, straight }) => {
      loopNest(scope, shape, straight, (inner, index) => {
        // First, so that what they compute of a row can be kept for the loops after them.
        if (afterFolds) {
          for (const { results } of folds) inner.value(results[0], index.slice(0, shapeOf(results[0]).length));
        }
        const order = [main, ...wanted.toReversed().filter((value) => value !== main)];
        const stores = order.flatMap((value) => {
          const own = value === main ? index : this.#indexOf(value, shape, index);
          const first = own === undefined ? inner.writer.firstUse(value) : { index: own, scope: inner };
          if (first === undefined) {
            left.push(value);
            return [];
          }
          return partsOf(value, first.index).map(({ part, to }) => {
            return { value, to, ...first, parts: first.scope.value(part, first.index) };
          });
        });
        for (const { value, to, index: at, scope: user, parts } of stores) {
          user.homeFor(at).store(outs[wanted.indexOf(value)], linearIndex(to, shapeOf(value)), parts);
        }
      });
    });
    if (left.length === 0) return [launch];
    return [...this.#elements(wanted.filter((value) => !left.includes(value))), ...this.#elements(left)];
  }

  /** What the group reduces for a value. */
  #foldsFor(value: Value): readonly OpOf<'reduce'>[] {
    const needed = new Set<Value>([value]);
    const folds: OpOf<'reduce'>[] = [];
    for (const op of this.#group.ops.toReversed()) {
      if (!op.results.some((result) => needed.has(result))) continue;
      if (op.name === 'reduce') folds.unshift(op);
      for (const operand of op.operands) needed.add(operand);
    }
    return folds;
  }

  /** A reshape of an input that lies in the input's memory. */
  #isRenamed(value: Value): boolean {
    let source = value;
    while (!this.#group.inputs.includes(source)) {
      if (source.owner.kind !== 'op' || source.owner.name !== 'reshape') return false;
      [source] = source.owner.operands;
    }
    return source !== value && this.#memory(source) === this.#memory(value);
  }

  /** Where the element of a value stands that has as many as the loops have turns. */
  #indexOf(value: Value, shape: readonly Dim[], index: Index) {
    const own = loopsOf(value);
    if (sameShape(own, shape)) return index;
    const sym = (dims: readonly Dim[]) => dims.find((dim) => typeof dim !== 'number');
    return turnsOf(own) === turnsOf(shape) && sym(own) === sym(shape) ? reshapedIndex(index, shape, own) : undefined;
  }

  #whole(op: Op, updated: readonly number[], write: (outs: readonly Buffer[], kernel: KernelParts) => void): Launch {
    // The operands that are updated are in the results' memory by now.
    const rest = new Set(op.operands.filter((_, i) => !updated.includes(i)));
    for (const value of reads(op)) if (!op.operands.includes(value)) rest.add(value);
    const inputs = this.#inputs.filter((value) => rest.has(value));
    const moved = movedOperands(op)?.filter((value) => rest.has(value));
    const updates = op.name === 'select_and_scatter';
    return this.#kernel(op.results, { moved, inputs, updates }, write);
  }

  /** With what computes their updates. */
  #scatters(scatters: readonly OpOf<'scatter'>[]): readonly Launch[] {
    const { ops } = this.#group;
    // The operands that are updated are in the results' memory by now.
    const readBy = (op: Op) => [
      ...reads({ ...op, operands: op.name === 'scatter' ? op.operands.slice(op.results.length) : op.operands }),
    ];
    const read = new Set(ops.flatMap(readBy));
    const inputs = this.#inputs.filter((value) => read.has(value));
    const moves = ops.map(movedOperands);
    const moved = moves.every((values) => values !== undefined)
      ? moves.flat().filter((value) => read.has(value))
      : undefined;
    const updates = !scatters.every((op) => assigns(op.regions[0], op.results.length));
    const outputs = scatters.flatMap(({ results }) => results);
    const launch = this.#kernel(outputs, { moved, inputs, updates }, (outs, kernel) =>
      scatterUpdates(scatters, outs, kernel),
    );
    return [...scatters.flatMap((op) => this.#begin(op)), launch];
  }

  /** Copies of the operands that the results start from, where they are not their memory. */
  #begin(op: OpOf<'scatter'> | OpOf<'dynamic_update_slice'>): readonly Launch[] {
    return op.results.flatMap((result, i) => {
      const operand = op.operands[i];
      if (!isWritten(operand) && this.#memory(operand) === this.#memory(result)) return [];
      return lowerCopy(this.#program, operand, result);
    });
  }

  #fill(op: OpOf<'select_and_scatter'> | OpOf<'pad'>): Launch {
    const value = op.operands[op.name === 'pad' ? 1 : 2];
    const shape = shapeOf(op.results[0]);
    const inputs = isWritten(value) ? [] : [value];
    return this.#kernel(op.results, { inputs, name: 'fill' }, ([out], { scope }) => {
      loopNest(scope, shape, true, (inner, index) => {
        inner.store(out, linearIndex(index, shape), inner.value(value, []));
      });
    });
  }

  #concatenate(op: OpOf<'concatenate'>): readonly Launch[] {
    const { dimension } = op.attributes;
    const outShape = shapeOf(op.results[0]);
    let start = 0;
    return op.operands.flatMap((value) => {
      const shape = shapeOf(value);
      const offset = indexConstant(start);
      start += maxDim(shape[dimension]);
      if (maxElements(asTensor(value.type)) === 0) return [];
      return this.#kernel(
        op.results,
        { moved: [value], inputs: isWritten(value) ? [] : [value] },
        ([out], { scope }) => {
          loopNest(scope, shape, true, (inner, index) => {
            const to = index.with(dimension, addIndex(index[dimension], offset));
            inner.store(out, linearIndex(to, outShape), inner.value(value, index));
          });
        },
      );
    });
  }

  /** The padding everywhere, then the elements that stay; negative edges cut some off, interior padding spreads them. */
  #pad(op: OpOf<'pad'>): readonly Launch[] {
    const { edge_padding_low: low, interior_padding: interior } = op.attributes;
    const outShape = shapeOf(op.results[0]);
    if (maxElements(asTensor(op.results[0].type)) === 0) return [];
    const value = op.operands[0];
    const kept = shapeOf(value).map((dim, d) => {
      if (typeof dim !== 'number') return { first: 0, extent: dim };
      const step = interior[d] + 1;
      const first = Math.max(0, Math.ceil(-low[d] / step));
      const last = Math.min(dim - 1, Math.floor((maxDim(outShape[d]) - 1 - low[d]) / step));
      return { first, extent: Math.max(0, last - first + 1) };
    });
    const extents = kept.map(({ extent }) => extent);
    if (extents.includes(0)) return [this.#fill(op)];
    const copy = this.#kernel(
      op.results,
      { moved: [value], inputs: isWritten(value) ? [] : [value] },
      ([out], { scope }) => {
        loopNest(scope, extents, true, (inner, index) => {
          const from = index.map((e, d) => addIndex(e, indexConstant(kept[d].first)));
          const to = from.map((e, d) => addIndex(scaleIndex(e, interior[d] + 1), indexConstant(low[d])));
          inner.store(out, linearIndex(to, outShape), inner.value(value, from));
        });
      },
    );
    return [this.#fill(op), copy];
  }
}
