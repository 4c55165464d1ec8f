/**
 * The loop language: what a group of ops computes, as loops over typed scalar expressions. Groups are lowered to it once
 * (`lower.ts`); a device only emits it, and `evaluate.ts` says what it means. Halide and TVM part the same two things; this
 * language has no schedule of its own, only the facts that an emitter needs: which iterations are independent, in which
 * order a reduction adds. Equal kernels have equal texts (`print.ts`).
 *
 * - A kernel reads and writes buffers by element index. A buffer that is written shares no memory with another: memory that
 *   is read and written is one buffer of access 'update'. There are no pointers.
 * - Expressions are pure, and total except that the index of a load must lie inside its buffer: an emitter may evaluate
 *   them early within their statement, both sides of a select included. Lowering clamps what data decides.
 * - i1 and 4-bit elements take a byte each: i1 is 0 or 1 (a load takes any other byte for 1); of 4 bits the high half of
 *   the byte is ignored by a load and zero after a store.
 * - Every operation works in its `type` and rounds to it, as the reference device does: floats to nearest even after each
 *   operation (no contraction, no wider intermediate that shows), integers modulo 2^bits. f16, bf16 and f8 may compute in
 *   f32 and round once. A NaN is any quiet NaN; kernels that only move elements take them as unsigned integers, so that all
 *   bits survive.
 * - Complex numbers do not exist here: their buffers hold (real, imaginary) pairs of their part type.
 */
import type { BinaryOp, ComparisonDirection, UnaryOp } from '../../ir/attributes.ts';
import type { DimSymbol } from '../../ir/types.ts';
import type { ElementType } from '../../numerics/element-types.ts';

export type ScalarElement = Exclude<ElementType, 'complex<f32>' | 'complex<f64>'>;
/** `index`: a signed number of 64 bits that never overflows: axes, extents, element numbers. */
export type ScalarType = ScalarElement | 'index';

/** One function: a list of loops, and what they touch. */
export interface Kernel {
  readonly name: string;
  /** In the order in which a launch names memory for them. */
  readonly buffers: readonly Buffer[];
  /** Of access 'private': no launch names memory for them. */
  readonly privates: readonly Buffer[];
  /** Symbolic dimensions whose values a launch passes as scalars. */
  readonly dims: readonly DimSymbol[];
  /**
   * Where every store lies in one loop of kind 'parallel' or 'vector' that stands here, threads may share its turns, and
   * those of loops of these kinds that alone make up its body, and so on; each thread runs what stands before it, which may
   * store numbers into buffers of access 'write' that the loop does not store into. Anything else is for one thread.
   */
  readonly body: readonly Statement[];
}

/**
 * `write`: is not read; elements that the kernel does not write keep their content. `scratch`: memory of the launch, undefined at
 * its start and end, written before it is read. `private`: the same of one turn of the loops that threads share.
 */
export interface Buffer {
  readonly name: string;
  readonly element: ScalarElement;
  /** At the bounds of symbolic dimensions; nothing outside is touched. i1 and 4-bit elements take a byte each. */
  readonly elements: number;
  readonly access: 'read' | 'write' | 'update' | 'scratch' | 'private';
}

/** A name for a value, or (where a `set` writes it) a variable. Compared by identity. */
export interface Local {
  readonly name: string;
  readonly type: ScalarType;
}

/**
 * One loop, its variable counts from 0 below `extent`.
 * - `parallel`: iterations are independent; threads may share them.
 * - `vector`: as parallel, and the body is straight: `let`, `set` (of variables of the body), `store`, `reduce`, and
 *   serial loops whose extents do not depend on this axis. Lanes may run at once; `strideAlong` (`affine.ts`) says how an
 *   index moves with it: 0 (the same for all lanes), 1 (contiguous), anything else is a gather or a scatter of lanes.
 * - `serial`: in order.
 */
export interface Axis {
  readonly name: string;
  readonly kind: 'parallel' | 'vector' | 'serial';
  /** Of type index: a constant, a dimension, products of these; of serial axes anything. May be 0. */
  readonly extent: Expression;
}

export type Expression =
  | Constant
  | { readonly kind: 'axis'; readonly type: 'index'; readonly axis: Axis }
  | { readonly kind: 'dim'; readonly type: 'index'; readonly sym: DimSymbol }
  | { readonly kind: 'local'; readonly type: ScalarType; readonly local: Local }
  | { readonly kind: 'load'; readonly type: ScalarElement; readonly buffer: Buffer; readonly index: Expression }
  | { readonly kind: 'unary'; readonly type: ScalarElement; readonly op: Unary; readonly x: Expression }
  /** Operands and result have one type. */
  | {
      readonly kind: 'binary';
      readonly type: ScalarType;
      readonly op: Binary;
      readonly a: Expression;
      readonly b: Expression;
    }
  /** Of two operands of one type; of floats as IEEE 754 says: with a NaN all but NE are false. */
  | {
      readonly kind: 'compare';
      readonly type: 'i1';
      readonly op: ComparisonDirection;
      readonly a: Expression;
      readonly b: Expression;
    }
  | { readonly kind: 'is_finite'; readonly type: 'i1'; readonly x: Expression }
  /** `condition` is of type i1. */
  | {
      readonly kind: 'select';
      readonly type: ScalarType;
      readonly condition: Expression;
      readonly a: Expression;
      readonly b: Expression;
    }
  /**
   * As StableHLO's convert on the reference device: to floats one rounding; float to integer towards zero, saturating, NaN
   * is 0; integer to integer wraps; to i1 "is not zero". An index converts as an i64 does, and an integer to it exactly
   * (ui64 modulo 2^64).
   */
  | { readonly kind: 'convert'; readonly type: ScalarType; readonly x: Expression }
  /** The same bits as another type of the same width (16-bit floats <-> 16-bit integers, and so on). */
  | { readonly kind: 'bitcast'; readonly type: ScalarElement; readonly x: Expression };

/** i64 and ui64 hold a bigint, every other type a number that the type can represent. */
export interface Constant {
  readonly kind: 'constant';
  readonly type: ScalarType;
  readonly value: number | bigint;
}

/**
 * StableHLO's functions with the meaning of `ir/scalar-functions.ts`: exact (rounded once) but for the
 * transcendental ones, whose error an emitter states. `hypot`, `sinh`, `cosh`, `truncate` exist for floats only.
 */
export type Unary = UnaryOp | 'cosh' | 'sinh' | 'truncate';
/**
 * Of type index there are `add`, `subtract`, `multiply`, `minimum`, `maximum`, and `divide` and `remainder` of numbers that
 * are not negative by positive ones.
 */
export type Binary = BinaryOp | 'hypot';
/** What `reduce` folds with: operations in whose result the order cannot be seen, and the float sum. */
export type ReduceOp = 'add' | 'and' | 'maximum' | 'minimum' | 'multiply' | 'or' | 'xor';

export type Statement =
  /** Defines the local for what follows in the same list and below; each turn of a loop defines it anew. */
  | { readonly kind: 'let'; readonly local: Local; readonly value: Expression }
  /** Changes a local that a `let` further out, or before, has defined. */
  | { readonly kind: 'set'; readonly local: Local; readonly value: Expression }
  /** With `where` (of type i1) false nothing happens, and the index may lie anywhere. */
  | {
      readonly kind: 'store';
      readonly buffer: Buffer;
      readonly index: Expression;
      readonly value: Expression;
      readonly where?: Expression;
    }
  | { readonly kind: 'for'; readonly axis: Axis; readonly body: readonly Statement[] }
  | Reduce
  | {
      readonly kind: 'if';
      readonly condition: Expression;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  /** Runs `before`, then leaves if `condition` (which sees its locals) is false, then `body`, and again. */
  | {
      readonly kind: 'while';
      readonly before: readonly Statement[];
      readonly condition: Expression;
      readonly body: readonly Statement[];
    };

/**
 * Defines `into` as the fold of `value` over the axes (serial, the last the fastest), with the statements of `body` (straight, as in a
 * vector loop; the turns are independent) run before `value` in each turn.
 *
 * A float `add` has the order of `numerics/math.ts`: turn i (counted over all axes, row-major) adds to lane i mod 16 of 16
 * that start at +0; then lane l adds lane l + 8 (l < 8), + 4, + 2, + 1; the result is init + lane 0; each addition rounds
 * to the type. Everything else folds from `init` in ascending order: `multiply` of floats must keep it, in the others it
 * cannot be seen.
 */
export interface Reduce {
  readonly kind: 'reduce';
  readonly op: ReduceOp;
  readonly axes: readonly Axis[];
  readonly body: readonly Statement[];
  readonly value: Expression;
  readonly init: Expression;
  readonly into: Local;
}
