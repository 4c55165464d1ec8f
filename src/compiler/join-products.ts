/**
 * Neighbours of products with stored weights become part of them, for devices that have a kernel for `joined_dot`: products of one activation
 * that follow one another (queries, keys and values; gate and up) are one product with their matrices one below the other, whose result is
 * cut into theirs; and what a product is added to is added where its results are written. Every bit stays.
 */
import { compositePrefix } from '../composites/composite.ts';
import { joinedDot } from '../composites/joined_dot.ts';
import { panelRows, type QuantizedDotAttributes, quantizedDotComposite } from '../composites/quantized_dot.ts';
import { operandsByName } from '../composites/quantized_weight.ts';
import type { Op, OpOf, Program, Region, Value } from '../ir/program.ts';
import { rewriteProgram, type Visitor } from '../ir/rewrite.ts';
import { asTensor, maxDim, sameType } from '../ir/types.ts';
import { definedBy, reachable, type Use, uses } from '../ir/walk.ts';
import { dce } from './dce.ts';
import { type InPlace, planState } from './state.ts';

/** `isKernel`: composites that a device runs whole; what they read has to lie in memory as it is. */
export function joinProducts(program: Program, isKernel: (composite: OpOf<'composite'>) => boolean): Program {
  const inPlace = planState(program);
  const visitors = new Map<Op, Visitor>();
  for (const func of reachable(program)) {
    const usesOf = uses(func);
    const users = (value: Value) => usesOf.get(value) ?? [];
    for (const products of neighbours(func)) {
      if (products.length > 1 && products.every(({ op }) => isCut(op.results[0], users, isKernel))) {
        joinNeighbours(products, visitors);
      } else {
        for (const product of products) addResidual(func, product, users, inPlace, visitors);
      }
    }
  }
  return dce(rewriteProgram(program, (op, site) => visitors.get(op)?.(op, site)));
}

interface StoredProduct {
  readonly op: OpOf<'composite'>;
  readonly attributes: QuantizedDotAttributes;
  readonly x: Value;
  readonly weight: Value;
  readonly bias: Value | undefined;
}

function storedProduct(op: Op): StoredProduct | undefined {
  if (op.name !== 'composite' || op.attributes.name !== compositePrefix + quantizedDotComposite.name) return undefined;
  const attributes = op.attributes.composite_attributes as QuantizedDotAttributes;
  const { weight, bias } = operandsByName(op.operands, attributes.operands);
  return weight === undefined ? undefined : { op, attributes, x: op.operands[0], weight, bias };
}

/** Panels of the kernels of products, which may take two at a time, do not reach from one matrix into the next. */
const wholePanels = 2 * panelRows;

/** Every product of a function's body, with those that could be one with it. */
function neighbours(func: Region): readonly (readonly StoredProduct[])[] {
  const found: StoredProduct[][] = [];
  let open: StoredProduct[] = [];
  for (const op of func.body) {
    const product = storedProduct(op);
    if (product === undefined) {
      if (op.name !== 'reshape' && op.name !== 'constant') open = [];
      continue;
    }
    const [first] = open;
    if (first !== undefined && isAlike(first, product)) {
      open.push(product);
      continue;
    }
    open = [product];
    found.push(open);
  }
  return found;
}

function isAlike(a: StoredProduct, b: StoredProduct): boolean {
  const isWhole = ({ weight }: StoredProduct) => maxDim(asTensor(weight.type).shape[0]) % wholePanels === 0;
  const isGiven = ({ weight, bias }: StoredProduct) =>
    [weight, ...(bias === undefined ? [] : [bias])].every(({ owner }) => owner.kind === 'region');
  return (
    a.x === b.x &&
    a.attributes.format === b.attributes.format &&
    a.attributes.numerics === b.attributes.numerics &&
    (a.bias === undefined) === (b.bias === undefined) &&
    (a.bias === undefined || b.bias === undefined || asTensor(a.bias.type).element === asTensor(b.bias.type).element) &&
    [a, b].every((product) => isWhole(product) && isGiven(product))
  );
}

/** Whether all who read a value can read a part of a larger one instead. */
function isCut(
  value: Value,
  users: (value: Value) => readonly Use[],
  isKernel: (composite: OpOf<'composite'>) => boolean,
): boolean {
  return users(value).every(({ op }) => {
    switch (op?.name) {
      case undefined:
      case 'call':
      case 'custom_call':
        return false;
      case 'composite':
        return !isKernel(op);
      case 'reshape':
        return isCut(op.results[0], users, isKernel);
      default:
        return true;
    }
  });
}

function joinNeighbours(products: readonly StoredProduct[], visitors: Map<Op, Visitor>): void {
  const [first] = products;
  let parts: readonly Value[] = [];
  visitors.set(first.op, (_, { b, map }) => {
    const operands = {
      x: map(first.x),
      weights: products.map(({ weight }) => map(weight)),
      biases: products.flatMap(({ bias }) => (bias === undefined ? [] : [map(bias)])),
    };
    const joined = joinedDot(b, operands, first.attributes);
    const last = asTensor(joined.type).shape.length - 1;
    let start = 0;
    parts = products.map(({ weight }) => {
      const from = start;
      start += maxDim(asTensor(weight.type).shape[0]);
      return b.slice(joined, last, from, start);
    });
    return parts.slice(0, 1);
  });
  products.slice(1).forEach(({ op }, i) => {
    visitors.set(op, () => parts.slice(i + 1, i + 2));
  });
}

/** Where the product's one reader adds it to what is there before it. */
function addResidual(
  func: Region,
  { op, attributes, x, weight, bias }: StoredProduct,
  users: (value: Value) => readonly Use[],
  inPlace: InPlace,
  visitors: Map<Op, Visitor>,
): void {
  const [result] = op.results;
  const [use, ...others] = users(result);
  const sum = use?.op;
  if (sum?.name !== 'add' || others.length > 0 || use.region !== func) return;
  const residual = sum.operands[1 - use.index];
  const maker = residual.owner.kind === 'op' ? residual.owner : undefined;
  const isThere = maker === undefined || func.body.slice(0, func.body.indexOf(op)).includes(maker);
  const isRepeated = definedBy(residual, 'broadcast_in_dim') ?? definedBy(residual, 'constant');
  if (!isThere || isRepeated || inPlace.has(sum.results[0]) || !sameType(residual.type, result.type)) return;
  visitors.set(op, (_, { b, map }) => {
    const biases = bias === undefined ? [] : [map(bias)];
    return [joinedDot(b, { x: map(x), weights: [map(weight)], biases, residual: map(residual) }, attributes)];
  });
  visitors.set(sum, (_, { map }) => [map(result)]);
}
