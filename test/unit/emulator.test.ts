/** The emulator that other tests run code in: what it computes, what it refuses, and that it notices what a processor would not tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import {
  broadcast,
  eax,
  indexed,
  k,
  masked,
  ptr,
  r9,
  rax,
  rbx,
  rdi,
  rip,
  sized,
  tmm,
  vec,
  zeroed,
} from '../../src/devices/cpu/asm/operands.ts';
import type { InstructionSet } from '../../src/devices/cpu/target.ts';
import { dotNumerics } from '../../src/numerics/dot.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { roundTo } from '../../src/numerics/rounding.ts';
import { Draw } from './asm-harness.ts';
import { emulatedMachine, noEmulator } from './emulated.ts';

function assemble(write: (a: Assembler) => void, ...last: ['vzeroupper'] | []): Uint8Array {
  const a = new Assembler();
  write(a);
  for (const mnemonic of last) a.emit(mnemonic);
  a.emit('ret');
  return a.assemble().bytes;
}

const skip = noEmulator();

test('an emulated processor computes with AVX-512 and its masks', { skip }, () => {
  const machine = emulatedMachine('avx512');
  using memory = machine.map(128);
  const floats = new Float32Array(memory.bytes.buffer, memory.bytes.byteOffset, 32);
  floats.set(Array.from({ length: 16 }, (_, i) => i));
  const code = assemble((a) => {
    a.emit('mov', eax, 0x7fff);
    a.emit('kmovw', k(1), eax);
    a.emit('vmovups', zeroed(vec(31, 512), k(1)), ptr(rdi));
    a.emit('vfmadd213ps', vec(31, 512), vec(31, 512), broadcast(ptr(rdi, 4)));
    a.emit('vmovups', masked(sized(ptr(rdi, 64), 512), k(1)), vec(31, 512));
  }, 'vzeroupper');
  machine.call(code, [[memory.address, 0, 1]], [memory]);
  assert.deepEqual([...floats.subarray(16)], [...Array.from({ length: 15 }, (_, i) => i * i + 1), 0]);
});

test('an emulated processor runs the code that it is given, where other code was before', { skip }, () => {
  const machine = emulatedMachine('avx2');
  for (const value of [1, 2, 3]) {
    using memory = machine.map(8);
    machine.call(
      assemble((a) => a.emit('mov', sized(ptr(rdi), 64), value)),
      [[memory.address, 0, 1]],
      [memory],
    );
    assert.equal(memory.bytes[0], value);
  }
});

/** Tiles 0: `rows` of 16 sums, 1: `rows` of `k` bytes, 2: k / 4 rows of 64 bytes; `product` on them, from memory and back. */
function product(mnemonic: 'tdpbssd' | 'tdpbusd' | 'tdpbf16ps', rows: number, k: number): Uint8Array {
  return assemble((a) => {
    const bytes = new Uint8Array(64);
    bytes[0] = 1;
    [rows, rows, k / 4].forEach((count, tile) => {
      bytes[48 + tile] = count;
      bytes[16 + 2 * tile] = tile === 1 ? k : 64;
    });
    a.emit('ldtilecfg', rip(a.constant(bytes)));
    a.emit('mov', eax, 64);
    a.emit('tileloadd', tmm(0), indexed(rdi, rax));
    a.emit('lea', r9, ptr(rdi, 1024));
    a.emit('tileloadd', tmm(1), indexed(r9, rax));
    a.emit('tileloadd', tmm(2), indexed(rdi, rax, 1, 2048));
    a.emit(mnemonic, tmm(0), tmm(1), tmm(2));
    a.emit('tilestored', indexed(rdi, rax), tmm(0));
    a.emit('tilerelease');
  });
}

test('tiles multiply bytes', { skip }, () => {
  const machine = emulatedMachine('amx');
  using memory = machine.map(3072);
  const draw = new Draw(5);
  for (const [mnemonic, rows, k] of [
    ['tdpbssd', 16, 64],
    ['tdpbusd', 3, 20],
  ] as const) {
    for (let i = 0; i < 3072; i++) memory.bytes[i] = draw.below(256);
    const [sums, left, right] = [memory.bytes.slice(0, 1024), memory.bytes.slice(1024, 2048), memory.bytes.slice(2048)];
    const expected = new Int32Array(sums.buffer);
    for (let m = 0; m < rows; m++) {
      for (let n = 0; n < 16; n++) {
        for (let i = 0; i < k; i++) {
          const x = left[64 * m + i] as number;
          const w = ((right[64 * (i >> 2) + 4 * n + (i & 3)] as number) << 24) >> 24;
          expected[16 * m + n] = (expected[16 * m + n] as number) + (mnemonic === 'tdpbusd' ? x : (x << 24) >> 24) * w;
        }
      }
    }
    machine.call(product(mnemonic, rows, k), [[memory.address, 0, 1]], [memory]);
    assert.deepEqual(new Int32Array(memory.bytes.slice(0, 1024).buffer), expected);
  }
});

test('tiles multiply bfloat16 in the order of numerics bf16', { skip }, () => {
  const machine = emulatedMachine('amx');
  using memory = machine.map(3072);
  const draw = new Draw(6);
  const value = () => roundTo('bf16', (draw.below(2 ** 24) / 2 ** 24 - 0.5) * 2 ** (draw.below(40) - 20));
  const x = Array.from({ length: 16 }, () => Float32Array.from({ length: 32 }, value));
  const w = Array.from({ length: 16 }, () => Float32Array.from({ length: 32 }, value));
  const words = new Uint16Array(memory.bytes.buffer, memory.bytes.byteOffset, 1536);
  const high = (number: number) => new Uint32Array(Float32Array.of(number).buffer)[0] >>> 16;
  for (let i = 0; i < 16; i++) {
    for (let k = 0; k < 32; k++) {
      words[512 + 32 * i + k] = high((x[i] as Float32Array)[k] as number);
      words[1024 + 32 * (k >> 1) + 2 * i + (k & 1)] = high((w[i] as Float32Array)[k] as number);
    }
  }
  machine.call(product('tdpbf16ps', 16, 64), [[memory.address, 0, 1]], [memory]);
  const sums = new Float32Array(memory.bytes.slice(0, 1024).buffer);
  const f32 = blockFormat('f32');
  x.forEach((activations, m) => {
    const row = dotNumerics.bf16(activations, f32);
    w.forEach((weights, n) => {
      assert.equal(sums[16 * m + n], row(new Uint8Array(weights.buffer)));
    });
  });
});

const broken: Record<string, { code: Uint8Array; set?: InstructionSet; message: RegExp }> = {
  'a byte too far': {
    code: assemble((a) => a.emit('mov', eax, sized(ptr(rdi, 61), 32))),
    message: /^#PF at 0x201000 in the instruction before byte 3 of the code; memory at 0x200fc0\+64$/,
  },
  'code that writes itself': {
    code: assemble((a) => {
      const here = a.here();
      a.emit('lea', rax, rip(here));
      a.emit('mov', sized(ptr(rax), 8), 0);
    }),
    message: /^#PF/,
  },
  'an instruction of another set': {
    set: 'avx512',
    code: assemble((a) => a.emit('vpdpbusd', vec(0, 512), vec(1, 512), vec(2, 512)), 'vzeroupper'),
    message: /^#UD/,
  },
  'AVX-512 for AVX2': {
    set: 'avx2',
    code: assemble((a) => a.emit('vpord', vec(0, 512), vec(0, 512), vec(0, 512))),
    message: /^#UD/,
  },
  'a register that is not kept': { code: assemble((a) => a.emit('mov', rbx, 0)), message: /^rbx was not kept/ },
  'a tile without a shape': {
    set: 'amx',
    code: assemble((a) => a.emit('tilezero', tmm(3))),
    message: /^#UD in the tile/,
  },
  'upper halves': {
    code: assemble((a) => a.emit('vpcmpeqd', vec(3, 256), vec(3, 256), vec(3, 256))),
    message: /^upper halves/,
  },
};
for (const [name, { code, set = 'avx512', message }] of Object.entries(broken)) {
  test(`the emulator refuses ${name}`, { skip }, () => {
    const machine = emulatedMachine(set);
    using memory = machine.map(64);
    assert.throws(() => machine.call(code, [[memory.address, 0, 1]], [memory]), { message });
  });
}
