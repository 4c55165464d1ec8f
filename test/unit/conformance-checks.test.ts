/** The conformance suite is only as good as its comparisons. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { encodeElements, hostArray } from '../../src/numerics/host-array.ts';
import { type Check, compareTensors } from '../conformance/checks.ts';

function agree(check: Check, element: ElementType, actual: readonly number[], expected: readonly number[]): boolean {
  const bytes = (values: readonly number[]) => {
    const array = hostArray(element, values.length) as Float32Array;
    array.set(values);
    return encodeElements(element, array);
  };
  return compareTensors(check, element, bytes(actual), bytes(expected)) === undefined;
}

test('equal means equal: NaN is not, the zeros are', () => {
  const equal: Check = { kind: 'equal' };
  assert.ok(agree(equal, 'f32', [1, -0], [1, 0]));
  assert.ok(!agree(equal, 'f32', [Number.NaN], [Number.NaN]));
  assert.ok(!agree(equal, 'i32', [1, 2], [1, 3]));
});

test('almost equal is an absolute distance', () => {
  const almost: Check = { kind: 'almost equal', tolerance: 0.01 };
  assert.ok(
    agree(almost, 'f32', [1.005, Number.NaN, Number.POSITIVE_INFINITY], [1, Number.NaN, Number.POSITIVE_INFINITY]),
  );
  assert.ok(!agree(almost, 'f32', [1.02], [1]));
  assert.ok(!agree(almost, 'f32', [Number.POSITIVE_INFINITY], [1]));
  assert.ok(!agree(almost, 'f32', [Number.NaN], [1]));
});

test('close counts representable values', () => {
  const close: Check = { kind: 'close', minUlp: 0n, maxUlp: 3n };
  const ulp = 2 ** -23;
  assert.ok(agree(close, 'f32', [1 + 3 * ulp], [1]));
  assert.ok(!agree(close, 'f32', [1 + 4 * ulp], [1]));
  assert.ok(agree(close, 'f32', [-(2 ** -149)], [2 * 2 ** -149]), 'three steps across zero');
  assert.ok(!agree(close, 'f32', [-2 * 2 ** -149], [2 * 2 ** -149]));
  assert.ok(agree(close, 'bf16', [1 + 3 / 128], [1]));
  assert.ok(!agree(close, 'bf16', [1 + 4 / 128], [1]));
  assert.ok(!agree(close, 'f32', [Number.POSITIVE_INFINITY], [3.4028234663852886e38]));
  assert.ok(!agree({ ...close, minUlp: 1n }, 'f32', [1], [1]));
});
