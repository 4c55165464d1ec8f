/** Programs that go along rows more than once, and keep what takes long: as machine code and as the evaluator of the language runs them. */
import assert from 'node:assert/strict';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { choices, type Schedule } from '../../src/devices/cpu/schedule.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, tensor } from '../../src/ir/types.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { execute } from './compiler-harness.ts';
import { checkedOn } from './cpu-emit-checked.ts';
import { poison, runEmitted, testEmitted } from './cpu-emit-harness.ts';
import { withSchedule } from './drawn-schedule.ts';

const T = { sym: 'T', max: 5 } as const;

/** Over all dimensions but the first. */
class Rows {
  readonly b: Builder;
  readonly x: Value;
  constructor(b: Builder, x: Value) {
    this.b = b;
    this.x = x;
  }
  #reduce(op: 'add' | 'maximum', x: Value): Value {
    const { shape } = asTensor(x.type);
    const initial = op === 'add' ? 0 : Number.NEGATIVE_INFINITY;
    const dimensions = shape.map((_, d) => d).slice(1);
    return this.b.broadcast(this.b.reduce(op, x, initial, dimensions), shape, [0]);
  }
  greatest = (x: Value) => this.#reduce('maximum', x);
  sum = (x: Value) => this.#reduce('add', x);
}

const programs = {
  softmax({ b, x, greatest, sum }: Rows) {
    const e = b.exponential(b.subtract(x, greatest(x)));
    return { out: b.divide(e, sum(e)) };
  },
  'softmax, and what it is made of'({ b, x, greatest, sum }: Rows) {
    const e = b.exponential(b.subtract(x, greatest(x)));
    return { e, out: b.divide(e, sum(e)) };
  },
  'two functions, used in three loops'({ b, x, sum }: Rows) {
    const [t, l] = [b.unary('tanh', x), b.unary('logistic', x)];
    const first = b.multiply(t, sum(b.multiply(t, l)));
    return { out: b.add(first, b.subtract(l, sum(b.multiply(first, l)))) };
  },
} satisfies Readonly<Record<string, (rows: Rows) => Readonly<Record<string, Value>>>>;

testEmitted('rows of what takes long to compute are kept', async (machine) => {
  const shapes: readonly (readonly Dim[])[] = [
    [T, 1],
    [T, 7],
    [T, 33],
    [T, 64],
    [T, 3, 21],
    [17, 130],
  ];
  for (const [name, build] of Object.entries<(rows: Rows) => Readonly<Record<string, Value>>>(programs)) {
    for (const element of ['f32', 'bf16', 'f64'] satisfies ElementType[]) {
      for (const shape of shapes) {
        const x = { name: 'x', type: tensor(element, shape), role: 'input' } as const;
        const program = new ProgramBuilder().program([x], (b, v) => build(new Rows(b, v.x)));
        const steps = planProgram(program).main.steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel] : []));
        assert.equal(steps.length, 1, `${name} is one kernel`);
        assert.equal(steps[0]?.privates.length, shape[1] === 1 ? 0 : name.startsWith('two') ? 2 : 1, name);
        await execute(program, 3, { T: 4 }, {}, createPlanDevice(checkedOn(machine, 4)));
      }
    }
  }
});

testEmitted('loops of any number of vectors give the same bits', (machine) => {
  const norm = ({ b, x, sum }: Rows) => ({ out: b.multiply(x, b.unary('rsqrt', sum(b.multiply(x, x)))) });
  const gate = ({ b, x }: Rows) => ({ out: b.multiply(x, b.unary('logistic', x)) });
  for (const build of [programs.softmax, gate, norm]) {
    for (const shape of [
      [16, 203],
      [17, 130],
    ]) {
      const x = { name: 'x', type: tensor('f32', shape), role: 'input' } as const;
      const program = new ProgramBuilder().program(
        [x],
        (b, v): Readonly<Record<string, Value>> => build(new Rows(b, v.x)),
      );
      const [step] = planProgram(program).main.steps;
      assert.ok(step?.kind === 'launch');
      const count = shape[0] * shape[1];
      const input = new Uint8Array(Float32Array.from({ length: count }, (_, i) => Math.sin(i * i)).buffer);
      const results = (schedule: Partial<Schedule>) => {
        const { target } = withSchedule(machine, schedule);
        const { buffers } = step.kernel;
        const given = buffers.map(({ access }) => (access === 'read' ? input : poison(input.length)));
        const all = runEmitted(step.kernel, machine, given, [], 2, emitKernel(step.kernel, target));
        return all[buffers.findIndex(({ access }) => access === 'write')];
      };
      const usual = results({});
      assert.ok(new Float32Array(usual?.slice().buffer ?? []).every(Number.isFinite));
      const schedules: readonly Partial<Schedule>[] = [
        ...choices.chainVectors.map((chainVectors) => ({ chainVectors })),
        ...choices.loopVectors.map((loopVectors) => ({ loopVectors })),
      ];
      const codes = schedules.map((schedule) =>
        emitKernel(step.kernel, withSchedule(machine, schedule).target).listing(),
      );
      assert.ok(new Set(codes).size >= 3);
      for (const schedule of schedules) assert.deepEqual(results(schedule), usual, JSON.stringify(schedule));
    }
  }
});

testEmitted('what computes exponentials asks for the next row, unless rows fill a cache', ({ target }) => {
  const asks = (rows: number, elements: number) => {
    const x = { name: 'x', type: tensor('f32', [rows, elements]), role: 'input' } as const;
    const program = new ProgramBuilder().program([x], (b, v) => programs.softmax(new Rows(b, v.x)));
    const [step] = planProgram(program).main.steps;
    assert.ok(step?.kind === 'launch');
    return emitKernel(step.kernel, target).listing().includes('prefetcht1');
  };
  assert.deepEqual([asks(64, 1024), asks(64, 4), asks(64, 65_536)], [true, false, false]);
});

testEmitted('a reduction of several values at once folds a row in each lane', async (machine) => {
  for (const shape of [
    [machine.emulated ? 256 : 300, 19],
    [12, 19],
  ]) {
    const x = { name: 'x', type: tensor('f32', shape), role: 'input' } as const;
    const program = new ProgramBuilder().program([x], (b, v) => {
      const [f32, i32] = [tensor('f32'), tensor('i32')];
      const greatest = b.region([f32, i32, f32, i32], (inner, a, i, c, j) => {
        const first = inner.compare('GE', a, c);
        return [inner.select(first, a, c), inner.select(first, i, j)];
      });
      const inits = [b.scalar('f32', Number.NEGATIVE_INFINITY), b.scalar('i32', 0)];
      const operands = [v.x, b.iota('i32', shape, 1), ...inits];
      const [value, index] = b.op('reduce', operands, { dimensions: [1] }, { regions: [greatest] });
      return { value, index };
    });
    const last = planProgram(program).main.steps.at(-1);
    assert.ok(last?.kind === 'launch');
    assert.equal(emitKernel(last.kernel, machine.target).listing().includes('vpunpck'), shape[0] > 12);
    await execute(program, 3, {}, {}, createPlanDevice(checkedOn(machine, 4)));
  }
});
