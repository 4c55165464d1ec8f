/**
 * What a product takes its activations from, and the kernel that makes that of f32 [T, K]: one launch before all products
 * with the same activations.
 */
import { IngotError } from '../../../base/errors.ts';
import type { Dim } from '../../../ir/types.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import type { Target } from '../target.ts';
import { copyActivationsKernel } from './copy-activations.ts';
import type { OrderedRows } from './expert-order.ts';
import { blockOf, isIntegerFormat, levelsOf } from './levels.ts';
import type { PackedFormat } from './packing.ts';
import { quantizeActivationsKernel, type RecordKind, recordSize, records } from './quantize-activations.ts';
import { type RoundedElement, roundActivationsKernel, roundedRowBytes } from './round-activations.ts';

/** What a kernel makes of them. */
export type PreparedActivations =
  | { readonly kind: 'integers'; readonly records: RecordKind }
  | { readonly kind: 'rounded'; readonly element: RoundedElement };

/** Plain ones are f32 [T, K]. */
export type Activations = { readonly kind: 'plain' } | PreparedActivations;

/** @throws IngotError 'UnsupportedOp' for a pair that is not defined. */
export function activationsOf(format: PackedFormat, numerics: DotNumerics, target: Target): Activations {
  switch (numerics) {
    case 'f32':
      return { kind: 'plain' };
    case 'bf16':
      return { kind: 'rounded', element: target.name === 'amx' || target.name === 'bf16' ? 'bf16' : 'f32' };
    case 'i8': {
      if (!isIntegerFormat(format)) {
        throw new IngotError('UnsupportedOp', `no kernel multiplies weights of ${format} in numerics i8`, {
          op: 'quantized_dot',
          device: 'cpu',
        });
      }
      const block = blockOf(levelsOf(format));
      return { kind: 'integers', records: block === 256 && target.vectorBits === 512 ? 'tiles' : block };
    }
    default:
      return numerics satisfies never;
  }
}

/** Bytes from the activations of a token to the next one's. */
export function activationRowBytes(activations: Activations, K: number): number {
  switch (activations.kind) {
    case 'plain':
      return 4 * K;
    case 'integers': {
      const { bytes } = records[activations.records];
      return (K / recordSize(activations.records)) * bytes;
    }
    case 'rounded':
      return roundedRowBytes(activations.element, K);
    default:
      return activations satisfies never;
  }
}

const readsTiles = (activations: Activations) => activations.kind === 'rounded' && activations.element === 'bf16';

/** Bytes of the activations of T tokens, with what tiles of 16 read beyond the last. */
export function activationBytes(activations: Activations, T: number, K: number): number {
  return (readsTiles(activations) ? 16 * Math.ceil(T / 16) : T) * activationRowBytes(activations, K);
}

/** The same for rows in the order of experts, where tiles may begin at any row. */
export function orderedActivationBytes(activations: Activations, rows: number, K: number): number {
  return (readsTiles(activations) ? rows + 15 : rows) * activationRowBytes(activations, K);
}

/** Its buffers are x f32 [T, K] and what it makes of it. */
export function activationsKernel(activations: PreparedActivations, tokens: Dim, K: number): EmittedKernel {
  switch (activations.kind) {
    case 'integers':
      return quantizeActivationsKernel(activations.records, tokens, K);
    case 'rounded':
      return roundActivationsKernel(activations.element, tokens, K);
    default:
      return activations satisfies never;
  }
}

/** The same for rows in the order of experts, which stands between the two buffers. */
export function orderedActivationsKernel(
  activations: Activations,
  tokens: Dim,
  K: number,
  rows: OrderedRows,
): EmittedKernel {
  switch (activations.kind) {
    case 'plain':
      return copyActivationsKernel(tokens, K, rows);
    case 'integers':
      return quantizeActivationsKernel(activations.records, tokens, K, rows);
    case 'rounded':
      return roundActivationsKernel(activations.element, tokens, K, rows);
    default:
      return activations satisfies never;
  }
}
