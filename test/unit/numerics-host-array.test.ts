import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { type ElementType, elementBytes, elementTypes } from '../../src/numerics/element-types.ts';
import { decodeElements, encodeElements, hostArray, numbersPerElement } from '../../src/numerics/host-array.ts';
import { toBits } from '../../src/numerics/rounding.ts';

const all = Object.keys(elementTypes) as ElementType[];

test('memory survives a round trip through host arrays, from an unaligned start', () => {
  for (const type of all) {
    const size = elementBytes(type);
    const buffer = new Uint8Array(1 + 64 * size);
    const bytes = buffer.subarray(1);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 37 + 11) & (type === 'i1' ? 1 : type === 'ui4' ? 15 : 0x3f);
    if (type === 'i4') for (let i = 0; i < bytes.length; i++) bytes[i] = (i % 16) - 8;
    const values = decodeElements(type, bytes);
    assert.equal(values.length, 64 * numbersPerElement(type));
    assert.equal(values.constructor, hostArray(type, 0).constructor);
    assert.deepEqual(encodeElements(type, values), Uint8Array.from(bytes), type);
    const before = values[0];
    bytes.fill(0);
    assert.equal(values[0], before, 'decoded values do not alias their bytes');
  }
});

test('a Buffer cut from the pool decodes like any bytes', () => {
  const pooled = Buffer.from([0, 0, 0x80, 0x3f, 0, 0, 0x00, 0x40]);
  assert.deepEqual(decodeElements('f32', pooled), Float32Array.of(1, 2));
  assert.deepEqual(decodeElements('bf16', pooled.subarray(2, 4)), Float32Array.of(1));
});

test('every 16-bit pattern decodes and encodes in bulk', () => {
  const bytes = new Uint8Array(Uint16Array.from({ length: 0x10000 }, (_, bits) => bits).buffer);
  for (const type of ['f16', 'bf16'] as const) {
    const values = decodeElements(type, bytes);
    const back = new Uint16Array(encodeElements(type, values).buffer);
    for (let bits = 0; bits < 0x10000; bits++) {
      if (Number.isNaN(values[bits]))
        assert.ok(Number.isNaN(decodeElements(type, new Uint8Array(back.slice(bits, bits + 1).buffer))[0]));
      else assert.equal(back[bits], bits);
    }
  }
});

test('bulk encoding rounds as single values do', () => {
  const values = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i) * 2 ** ((i % 300) - 150));
  values.set([Infinity, -Infinity, -0, 3.4e38, 65520, 1e-45]);
  for (const type of ['f16', 'bf16', 'f8E4M3FN', 'f8E5M2'] as const) {
    const bytes = encodeElements(type, values);
    const size = elementBytes(type);
    for (let i = 0; i < values.length; i++) {
      const bits = size === 1 ? bytes[i] : (bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8);
      assert.equal(bits, toBits(type, values[i] as number), `${type} ${values[i]}`);
    }
  }
});

test('bits that a type lacks are ignored', () => {
  assert.deepEqual(decodeElements('i1', Uint8Array.of(0, 1, 2, 255)), Uint8Array.of(0, 1, 1, 1));
  assert.deepEqual(decodeElements('i4', Uint8Array.of(0x0f, 0xf7, 0x88)), Int8Array.of(-1, 7, -8));
  assert.deepEqual(decodeElements('ui4', Uint8Array.of(0x0f, 0xf7)), Uint8Array.of(15, 7));
});

test('bytes or arrays that do not fit a type are refused', () => {
  assert.throws(
    () => decodeElements('f32', new Uint8Array(7)),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  assert.throws(
    () => encodeElements('f32', new Float64Array(1)),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  assert.throws(
    () => encodeElements('complex<f32>', new Float32Array(3)),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
});
