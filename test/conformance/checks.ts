/**
 * What the checks in StableHLO's own tests demand of two tensors (openxla/stablehlo, CheckOps.td): equality in which
 * NaN equals nothing, closeness by an absolute tolerance, and closeness by units in the last place. In these two NaN
 * agrees with NaN.
 */
import { type ElementType, elementClass } from '../../src/numerics/element-types.ts';
import { decodeElements, encodeElements, type HostArray } from '../../src/numerics/host-array.ts';

export type Check =
  | { readonly kind: 'equal' }
  | { readonly kind: 'almost equal'; readonly tolerance: number }
  | { readonly kind: 'close'; readonly minUlp: bigint; readonly maxUlp: bigint };

/** What differs first, and how many elements differ; undefined if the tensors agree. */
export function compareTensors(
  check: Check,
  element: ElementType,
  actualBytes: Uint8Array,
  expectedBytes: Uint8Array,
): string | undefined {
  const actual = decodeElements(element, actualBytes);
  const expected = decodeElements(element, expectedBytes);
  const agree = agreement(check, element, actual, expected);
  const wrong: number[] = [];
  for (let i = 0; i < actual.length; i++) if (!agree(i)) wrong.push(i);
  if (wrong.length === 0) return undefined;
  const [at] = wrong;
  const part = elementClass(element) === 'complex' ? ` (number ${at} of real and imaginary parts)` : '';
  return `element ${at}${part} is ${actual[at]}, expected ${expected[at]}; ${wrong.length} of ${actual.length} are not ${check.kind}`;
}

function agreement(check: Check, element: ElementType, actual: HostArray, expected: HostArray): (i: number) => boolean {
  switch (check.kind) {
    case 'equal':
      return (i) => actual[i] === expected[i];
    case 'almost equal':
      return (i) => {
        const [a, b] = [Number(actual[i]), Number(expected[i])];
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) && Number.isNaN(b);
        return a === b || Math.abs(a - b) <= check.tolerance;
      };
    case 'close': {
      const distance = ulpDistance(element, actual, expected);
      return (i) => {
        const ulps = distance(i);
        return ulps !== undefined && ulps >= check.minUlp && ulps <= check.maxUlp;
      };
    }
    default:
      return check satisfies never;
  }
}

/** Representable values between two; undefined if just one of them is finite, or they are unlike. */
function ulpDistance(element: ElementType, actual: HostArray, expected: HostArray): (i: number) => bigint | undefined {
  const a = orderedBits(element, actual);
  const b = orderedBits(element, expected);
  return (i) => {
    const [x, y] = [Number(actual[i]), Number(expected[i])];
    if (a[i] === b[i] || (Number.isNaN(x) && Number.isNaN(y))) return 0n;
    if (!Number.isFinite(x) || !Number.isFinite(y)) return undefined;
    return a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
  };
}

/** Bits of floats as integers that count representable values from zero; both zeros are 0. */
function orderedBits(element: ElementType, values: HostArray): bigint[] {
  const part: ElementType = element === 'complex<f32>' ? 'f32' : element === 'complex<f64>' ? 'f64' : element;
  const bytes = encodeElements(part, values);
  const size = bytes.length / Math.max(1, values.length);
  const sign = 1n << BigInt(8 * size - 1);
  return Array.from({ length: values.length }, (_, i) => {
    let bits = 0n;
    for (let b = size - 1; b >= 0; b--) bits = (bits << 8n) | BigInt(bytes[i * size + b]);
    return bits >= sign ? -(bits - sign) : bits;
  });
}
