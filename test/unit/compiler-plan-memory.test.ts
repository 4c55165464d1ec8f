import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { packArena } from '../../src/compiler/arena.ts';
import { type MemoryPlan, type Place, planMemory } from '../../src/compiler/plan-memory.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Func, Op, Program, Region, Value } from '../../src/ir/program.ts';
import { maxBytes, tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { callee } from '../../src/ir/walk.ts';
import { decisions, randomProgram } from './random-program.ts';

test('buffers alive at one time never overlap, and the arena is no larger than their sum', () => {
  const buffer = fc.record({ bytes: fc.nat(1000), from: fc.nat(20), length: fc.nat(10) });
  fc.assert(
    fc.property(fc.array(buffer, { maxLength: 30 }), (list) => {
      const buffers = list.map(({ bytes, from, length }) => ({ bytes, from, to: from + length }));
      const { bytes, offsets } = packArena(buffers);
      const end = (i: number) => offsets[i] + buffers[i].bytes;
      buffers.forEach((a, i) => {
        assert.equal(offsets[i] % 64, 0);
        assert.ok(end(i) <= bytes);
        buffers.slice(0, i).forEach((b, j) => {
          const together = a.from <= b.to && b.from <= a.to && a.bytes > 0 && b.bytes > 0;
          assert.ok(!together || end(i) <= offsets[j] || end(j) <= offsets[i], `${i} and ${j} overlap`);
        });
      });
      assert.ok(bytes <= buffers.reduce((sum, b) => sum + Math.ceil(b.bytes / 64) * 64, 0));
    }),
    { seed: 1, numRuns: 300 },
  );
});

/**
 * Runs a program on stamps instead of numbers: every write fills its memory with a fresh stamp, every read finds in all
 * of the memory the stamp that the value was given. So a plan in which two live values meet is found out.
 */
class StampMachine {
  readonly memory = new Map<number, number>(); // unit of 64 bytes -> stamp
  readonly #program: Program;
  readonly #plan: MemoryPlan;
  readonly #choose: () => number;
  /** Where constants lie that have no place in the plan: with the program. */
  readonly #constants = new Map<Value, number>();
  #stamp = 0;

  constructor(program: Program, plan: MemoryPlan, choose: () => number) {
    this.#program = program;
    this.#plan = plan;
    this.#choose = choose;
  }

  run(): void {
    const { main, parameters, aliases } = this.#program;
    const frame = this.#plan.frames.get(main);
    const outside = parameters.map((_, i) => (i + 1) * 2 ** 30);
    const stamps = main.parameters.map((value, i) => {
      const place = frame?.places.get(value);
      const base = parameters[i].role === 'input' && place?.kind === 'frame' ? place.offset : outside[i];
      return this.#fill(base, value);
    });
    const { stamps: results } = this.#func(main, stamps, outside, [], 0);
    for (const { result, parameter } of aliases) {
      assert.equal(this.memory.get(outside[parameter] / 64), results[result], 'state holds its result');
    }
    parameters.forEach(({ role }, i) => {
      const updated = aliases.some(({ parameter }) => parameter === i);
      if (role !== 'input' && !updated) assert.equal(this.memory.get(outside[i] / 64), stamps[i], 'read only');
    });
  }

  #fill(address: number, value: Value, stamp = ++this.#stamp): number {
    if (value.type.kind !== 'tensor') return stamp;
    for (let at = 0; at < maxBytes(value.type); at += 64) this.memory.set((address + at) / 64, stamp);
    return stamp;
  }

  /** `given`: addresses of parameters and of results, and the base of the frame. */
  #func(
    func: Func,
    stamps: readonly number[],
    parameters: readonly number[],
    results: readonly number[],
    base: number,
  ) {
    const frame = this.#plan.frames.get(func);
    assert.ok(frame);
    const held = new Map<Value, number>();
    const address = (place: Place): number =>
      place.kind === 'frame' ? base + place.offset : (place.kind === 'parameter' ? parameters : results)[place.index];
    const where = (value: Value): number | undefined => {
      const place = frame.places.get(value);
      return place === undefined ? this.#constants.get(value) : address(place);
    };
    const read = (value: Value): number => {
      const at = where(value);
      const stamp = held.get(value) ?? -1;
      if (at === undefined || value.type.kind !== 'tensor') return stamp;
      for (let unit = 0; unit < maxBytes(value.type); unit += 64) {
        const who = value.owner.kind === 'op' ? value.owner.name : 'parameter';
        assert.equal(this.memory.get((at + unit) / 64), stamp, `${who} ${value.index} in ${func.name} was overwritten`);
      }
      return stamp;
    };
    /** The value becomes what has this stamp; copied where it is not in place. */
    const become = (value: Value, stamp: number) => {
      held.set(value, stamp);
      const at = where(value);
      if (at !== undefined) this.#fill(at, value, stamp);
    };
    /** All are read before any is written. */
    const copy = (from: readonly Value[], to: readonly Value[]) => {
      const read_ = from.map(read);
      to.forEach((value, i) => {
        become(value, read_[i]);
      });
    };
    const body = (region: Region) => {
      for (const op of region.body) step(op);
    };
    const step = (op: Op) => {
      const operands = op.operands.map(read);
      const called = callee(this.#program, op);
      if (called !== undefined) {
        const inside = this.#func(
          called,
          operands,
          op.operands.map((value) => where(value) ?? NaN),
          op.results.map((value) => where(value) ?? NaN),
          base + (frame.calls.get(op) ?? 0),
        );
        op.results.forEach((value, i) => {
          become(value, inside.stamps[i]);
        });
      } else if (op.name === 'if') {
        const region = op.regions[this.#choose() % 2];
        body(region);
        copy(region.results, op.results);
      } else if (op.name === 'while') {
        const [condition, inside] = op.regions;
        copy(op.operands, inside.parameters);
        for (let turns = this.#choose() % 3; ; turns--) {
          copy(inside.parameters, condition.parameters);
          body(condition);
          condition.results.forEach(read);
          if (turns === 0) break;
          body(inside);
          copy(inside.results, inside.parameters);
        }
        copy(condition.parameters, op.results);
      } else if (op.name === 'reshape') {
        become(op.results[0], operands[0]);
      } else if (op.name !== 'constant') {
        for (const value of op.results) become(value, ++this.#stamp);
      } else {
        const [value] = op.results;
        if (where(value) === undefined) this.#constants.set(value, -(this.#constants.size + 1) * 2 ** 20);
        become(value, ++this.#stamp);
      }
    };
    func.parameters.forEach((value, i) => {
      held.set(value, stamps[i]);
    });
    body(func);
    const last = func.results.map(read);
    // A result that lies elsewhere is copied to where the caller wants it.
    func.results.forEach((value, i) => {
      const target = results.at(i);
      if (target !== undefined) this.#fill(target, value, last[i]);
    });
    return { stamps: last };
  }
}

test('no value of a random program is overwritten while it is needed', () => {
  let updated = 0;
  fc.assert(
    fc.property(decisions, fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }), (list, choices) => {
      const program = randomProgram(list);
      verify(program);
      const plan = planMemory(program);
      let at = 0;
      new StampMachine(program, plan, () => choices[at++ % choices.length]).run();
      updated += plan.inPlace.size;
    }),
    { seed: 2, numRuns: 1500 },
  );
  assert.ok(updated > 500, `only ${updated} results were in place`);
});

test('results of a choice stay apart where one branch returns one value twice, or renamed', () => {
  const type = tensor('f32', [4]);
  const program = new ProgramBuilder().program(
    [
      { name: 'p', type: tensor('i1'), role: 'input' },
      { name: 'x', type, role: 'input' },
    ],
    (b, { p, x }) => {
      const [first, second] = b.if(
        p,
        (c) => {
          const value = c.negate(x);
          return [value, c.reshape(c.reshape(value, [2, 2]), [4])];
        },
        (c) => [c.negate(x), c.exponential(x)],
      );
      return { first, second, x };
    },
  );
  for (const branch of [0, 1]) new StampMachine(program, planMemory(program), () => branch).run();
});

test('frames of calls are one memory, and kernels need none', () => {
  const type = tensor('f32', [1000]);
  const module = new ProgramBuilder();
  const layer = module.define('layer', [type, type], (b, x, w) => [rmsNorm(b, b.exponential(x), w, 1)]);
  const program = module.program(
    [
      { name: 'x', type, role: 'input' },
      { name: 'w', type, role: 'weight' },
    ],
    (b, { x, w }) => {
      let y = x;
      for (let i = 0; i < 10; i++) [y] = b.call(layer, [y, w]);
      return { y };
    },
  );
  const unit = 4032; // 1000 f32, aligned
  const norm = planMemory(program).frames.get(module.functions.get('rms_norm.impl') ?? layer)?.bytes ?? 0;
  assert.ok(norm >= unit);
  assert.equal(planMemory(program).scratchBytes, 3 * unit + norm, 'x and y of one layer, its temporary, its callee');
  assert.equal(planMemory(program, (name) => name === 'ingot.rms_norm').scratchBytes, 3 * unit);
});
