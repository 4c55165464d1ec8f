/** What a piece of hardware can do, in SI units (measured, or written by hand for planning), and what ops ask of it. */
import type { Op, Value } from '../ir/program.ts';
import { maxBytes, maxDim, maxElements, type Type } from '../ir/types.ts';
import { definedBy } from '../ir/walk.ts';
import { type ElementType, elementBytes } from '../numerics/element-types.ts';

export interface Hardware {
  readonly name: string;
  readonly memoryBytes: number;
  /** That compute at the same time. */
  readonly threads: number;
  /** Whether the rates were measured; orders of magnitude otherwise. */
  readonly measured?: boolean;
  readonly readBytesPerSecond: number;
  readonly operationsPerSecond: Readonly<Partial<Record<ElementType, number>>>;
  /** Between two ranks, where programs run on several. */
  readonly link?: Link;
}

export interface Link {
  readonly bytesPerSecond: number;
  readonly latencySeconds: number;
}

/** Between processes of one machine, by order of magnitude; a network is slower in both, and in about the same proportion. */
export const usualLink: Link = { bytesPerSecond: 1e10, latencySeconds: 5e-6 };

/** Up to so many bytes it takes less to copy several things into one message than to meet once more. */
export function joinedBytes({ bytesPerSecond, latencySeconds }: Link): number {
  return latencySeconds * bytesPerSecond;
}

/**
 * Up to so many bytes a sum over ranks is there sooner if all of it goes to everybody, in one meeting and `ranks - 1` times its
 * bytes, than if it goes in parts, in two meetings and `2 (ranks - 1) / ranks` times its bytes.
 */
export function wholeBytes(ranks: number, { bytesPerSecond, latencySeconds }: Link): number {
  return ranks < 3 ? Number.POSITIVE_INFINITY : (latencySeconds * bytesPerSecond * ranks) / ((ranks - 1) * (ranks - 2));
}

/** What a piece of work asks for at least. */
export interface Cost {
  /** Read or written, each once. */
  readonly bytes: number;
  /** Arithmetic, a multiplication and an addition counted as two. */
  readonly operations: number;
  /** The type of most of the arithmetic. */
  readonly element: ElementType;
}

/** Seconds that the hardware's limits leave no way around; what has no measured rate of operations is bounded by its bytes. */
export function leastSeconds({ readBytesPerSecond, operationsPerSecond }: Hardware, cost: Cost): number {
  const rate = operationsPerSecond[cost.element] ?? Number.POSITIVE_INFINITY;
  return Math.max(cost.bytes / readBytesPerSecond, cost.operations / rate);
}

/** Bytes to read or write a value once, at the bound of its symbolic dimension; a constant of one element is one. */
export function valueBytes(value: Value): number {
  const constant = definedBy(value, 'constant')?.attributes.value;
  return constant?.splat ? elementBytes(constant.type.element) : typeBytes(value.type);
}

function typeBytes(type: Type): number {
  if (type.kind === 'tensor') return maxBytes(type);
  return type.kind === 'token' ? 0 : type.parts.reduce((sum, part) => sum + typeBytes(part), 0);
}

function elements(value: Value): number {
  return value.type.kind === 'tensor' ? maxElements(value.type) : 0;
}

/** Arithmetic of the op itself, a multiplication and an addition counted as two; what it calls is not counted. */
export function opOperations(op: Op): number {
  switch (op.name) {
    case 'dot_general': {
      const [{ type }] = op.operands;
      const dims = op.attributes.lhs_contracting_dimensions;
      const depth = type.kind === 'tensor' ? dims.reduce((product, d) => product * maxDim(type.shape[d]), 1) : 0;
      return 2 * depth * elements(op.results[0]);
    }
    case 'reduce':
      return op.operands.slice(0, op.results.length).reduce((sum, value) => sum + elements(value), 0);
    case 'constant':
    case 'reshape':
    case 'broadcast_in_dim':
    case 'call':
    case 'composite':
    case 'while':
    case 'if':
    case 'case':
      return 0;
    default:
      return op.results.reduce((sum, value) => sum + elements(value), 0);
  }
}
