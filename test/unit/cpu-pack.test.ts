/** Packing as machine code against packing.ts, bit for bit; weights read side by side; how much memory that takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packRowsKernel } from '../../src/devices/cpu/kernels/pack-rows.ts';
import { type PackedFormat, packedBytes, packRows, tiles } from '../../src/devices/cpu/kernels/packing.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { skip } from './cpu-emit-harness.ts';
import { Guarded, runKernel } from './native-kernel.ts';

const formats = Object.keys(tiles) as PackedFormat[];

function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

for (const format of formats) {
  test(`pack: the code for ${format} has the bits of packing.ts`, { skip }, () => {
    const { blockSize, blockBytes } = blockFormat(format);
    for (const K of blockSize === 1 ? [1, 2, 7, 40] : [blockSize, 3 * blockSize]) {
      for (const panels of [1, 2, 5]) {
        const rows = 16 * panels;
        const weight = randomBytes((rows * K * blockBytes) / blockSize, 7 * K + panels);
        const expected = new Uint8Array(packedBytes(format, [rows, K]));
        packRows(format, weight, rows, K, expected);
        using source = Guarded.of(weight);
        using packed = new Guarded(expected.length);
        const kernel = packRowsKernel(format, K);
        runKernel(kernel, { source, panels: packed }, panels, [0, 1, 2]);
        assert.deepEqual(packed.bytes, expected, `[${rows}, ${K}]`);
      }
    }
  });
}
