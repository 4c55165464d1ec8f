/** The allocator on code by hand: more vectors and masks than there are registers, and instructions that name 16 of them only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import { assembleFunction } from '../../src/devices/cpu/emit/function.ts';
import { at, k, Machine, q, RDI, view, where, zeroWhereNot } from '../../src/devices/cpu/emit/machine.ts';
import { machineOf } from './machine.ts';

const machine = machineOf('avx512');
const skip = typeof machine === 'string' && machine;

test('spilled vectors and masks of AVX-512 keep all their bits', { skip }, () => {
  assert.ok(typeof machine !== 'string');
  const COUNT = 40;
  const assembler = new Assembler();
  const m = new Machine(assembler, 512);
  const base = m.register('gp');
  m.emit('mov', q(base), q(RDI));
  const vectors = Array.from({ length: COUNT }, (_, i) => {
    const vector = m.register('vec');
    m.emit('vmovups', view(vector, 512), at(base, 64 * i));
    return vector;
  });
  // Lane l of vector i is above l.
  const masks = vectors.slice(0, 12).map((vector) => {
    const mask = m.register('mask');
    m.emit('vpcmpd', k(mask), view(vector, 512), at(base, 64 * COUNT), 6);
    return mask;
  });
  // Low registers for this one: it has no form of AVX-512.
  const low = m.register('vec');
  m.emit(
    'vpblendd',
    view(low, 256),
    view(vectors[39] ?? assert.fail(), 256),
    view(vectors[38] ?? assert.fail(), 256),
    0x0f,
  );
  vectors.forEach((vector, i) => {
    const mask = masks[i % masks.length] ?? assert.fail();
    const result = m.register('vec');
    m.emit('vmovaps', i < 20 ? zeroWhereNot(view(result, 512), mask) : view(result, 512), view(vector, 512));
    m.emit('vpaddd', view(result, 512), view(result, 512), { ...at(base, 64 * COUNT + 4), broadcast: true });
    m.emit('vmovups', i < 30 ? at(base, 64 * i) : where(at(base, 64 * i), mask), view(result, 512));
  });
  m.emit('vmovups', at(base, 64 * COUNT), view(low, 256));
  const { code, stackBytes } = assembleFunction(assembler, m);
  assert.ok(stackBytes > 9 * 64);
  assert.match(code.listing(), /kmovq k\d, qword ptr \[rsp/);

  using memory = machine.map(64 * (COUNT + 1));
  const words = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, 16 * (COUNT + 1));
  const value = (i: number, lane: number) => ((i * 7 + lane * 5) % 23) - 3;
  words.forEach((_, at) => {
    words[at] = at < 16 * COUNT ? value(at >> 4, at & 15) : at & 15;
  });
  machine.call(code.bytes, [[memory.address, 0, 1]], [memory]);
  for (let i = 0; i < COUNT; i++) {
    for (let lane = 0; lane < 16; lane++) {
      const kept = value(i % 12, lane) > lane;
      const before = value(i, lane);
      const expected = i < 20 ? (kept ? before : 0) + 1 : i < 30 || kept ? before + 1 : before;
      assert.equal(words[16 * i + lane], expected, `vector ${i}, lane ${lane}`);
    }
  }
  for (let lane = 0; lane < 8; lane++) assert.equal(words[16 * COUNT + lane], value(lane < 4 ? 38 : 39, lane));
});
