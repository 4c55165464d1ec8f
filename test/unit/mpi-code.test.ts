/** The ends of MPI on arm64: a message reaches MPI's function with its seven arguments where AAPCS64 has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arm64Assembler } from '../../src/devices/cpu/asm/arm64/assembler.ts';
import { place, sp, x } from '../../src/devices/cpu/asm/arm64/operands.ts';
import { assembleMpiEnds, channels, end } from '../../src/parallel/mpi-code.ts';
import { machineOf } from './machine.ts';

const machine = machineOf('neon');
const [messageAt, resultAt, blockBytes] = [512, 768, 1024];
const message = { peer: 5, channel: 7, bytes: 64, request: 99 } as const;

/** A function of a block, which has an end: sends a message from `messageAt` of it by a function that writes there what it is given. */
function caller(): Uint8Array {
  const ends = assembleMpiEnds('arm64');
  const a = new Arm64Assembler();
  const [fake, code] = [a.label(), a.label()];
  a.emit('sub', sp, sp, 32);
  a.emit('str', x(30), place(sp));
  a.emit('str', x(0), place(sp, 8));
  a.emit('adr', x(9), fake);
  a.emit('str', x(9), place(x(0), end.isend));
  a.emit('add', x(3), x(0), messageAt);
  for (const [i, value] of [
    [1, message.peer],
    [2, message.channel],
    [4, message.bytes],
    [5, message.request],
  ] as const) {
    a.emit('movz', x(i), value);
  }
  a.emit('adr', x(10), code);
  a.emit('add', x(10), x(10), ends.isend);
  a.emit('blr', x(10));
  a.emit('ldr', x(9), place(sp, 8));
  a.emit('str', x(0), place(x(9), resultAt));
  a.emit('ldr', x(30), place(sp));
  a.emit('add', sp, sp, 32);
  a.emit('ret');
  a.bind(fake);
  for (let i = 1; i < 7; i++) a.emit('str', x(i), place(x(0), 8 * i));
  a.emit('movz', x(0), 0);
  a.emit('ret');
  a.place(code, ends.bytes, 16);
  return a.assemble().bytes;
}

test('a message is sent by all seven arguments on arm64', { skip: typeof machine === 'string' && machine }, () => {
  if (typeof machine === 'string') return;
  using block = machine.map(blockBytes);
  const words = new BigUint64Array(block.bytes.buffer, block.bytes.byteOffset, blockBytes / 8);
  words.fill(0xffffn);
  const [communicator, byte, epoch] = [0x1111, 0x2222, 3];
  for (const [at, value] of [
    [end.comm, communicator],
    [end.byte, byte],
    [end.tag, epoch * channels],
  ] as const) {
    words[at / 8] = BigInt(value);
  }
  machine.call(caller(), [[block.address, 0, 1]], [block]);
  const { peer, channel, bytes, request } = message;
  const given = [...words.subarray(messageAt / 8 + 1, messageAt / 8 + 7)].map(Number);
  assert.deepEqual(given, [bytes, byte, peer, epoch * channels + channel, communicator, request]);
  assert.equal(words[resultAt / 8], 0n);
});
