/** The emulator that other tests run code in: what it computes, what it refuses, and that it notices what a processor would not tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import {
  broadcast,
  eax,
  k,
  masked,
  ptr,
  rax,
  rbx,
  rdi,
  rip,
  sized,
  vec,
  zeroed,
} from '../../src/devices/cpu/asm/operands.ts';
import { emulatedMachine, noEmulator } from './emulated.ts';

function assemble(write: (a: Assembler) => void, ...last: ['vzeroupper'] | []): Uint8Array {
  const a = new Assembler();
  write(a);
  for (const mnemonic of last) a.emit(mnemonic);
  a.emit('ret');
  return a.assemble().bytes;
}

const skip = noEmulator('avx512');

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

const broken: Record<string, { code: Uint8Array; set?: 'avx2' | 'avx512' | 'vnni'; message: RegExp }> = {
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
