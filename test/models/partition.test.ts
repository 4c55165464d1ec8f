/** Every decoder on several ranks, which nobody has told how to split it: the logits and greedy ids of one rank. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localProgram } from '../../src/compiler/partition/partition.ts';
import { planOf } from '../../src/compiler/partition/plan.ts';
import { Place } from '../../src/compiler/partition/split.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Communicator, Device, DeviceBuffer } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { sliceTensor } from '../../src/formats/slice-tensor.ts';
import { isCollective } from '../../src/ir/process-groups.ts';
import type { Op, Program } from '../../src/ir/program.ts';
import { verify } from '../../src/ir/verify.ts';
import { reads, walk } from '../../src/ir/walk.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { openAbsorbed } from './absorbed.ts';
import { golden, modelFolder, modelNames } from './golden.ts';

const limits: StepLimits = {
  ...{ maxTokens: 40, maxSequences: 1, maxRows: 40 },
  ...{ blockSize: 16, blockCount: 4, blocksPerSequence: 4, maxBias: 4 },
};
/** Greedy tokens behind the prompt. */
const answer = 3;
/** Of the largest logit: sums have another order. */
const tolerance = 2e-5;

const ints = (...values: number[]) => Int32Array.of(...values);

/** A program with its weights and its state on a device of its own. */
class Rank {
  readonly #device: Device = createReferenceDevice();
  readonly #program: Program;
  #bound: Awaited<ReturnType<Device['bind']>> | undefined;

  constructor(program: Program) {
    this.#program = program;
  }

  async load(weights: Model['weights'], communicator?: Communicator): Promise<this> {
    const kept = new Map<string, DeviceBuffer>();
    for (const { name, type, role } of this.#program.parameters) {
      const stored = weights.get(name);
      if (role === 'weight' && stored !== undefined) kept.set(name, await this.#device.pack(stored));
      if (role === 'state') kept.set(name, await this.#device.allocate(type, 'state'));
    }
    this.#bound = await this.#device.bind(await this.#device.compile(this.#program), kept, kept, communicator);
    return this;
  }

  /** Logits of all tokens, and what is sampled after each. */
  async step(tokens: readonly number[], from: number) {
    assert.ok(this.#bound !== undefined);
    const count = tokens.length;
    const positions = Int32Array.from(tokens, (_, i) => from + i);
    const inputs = {
      ...{ tokens: ints(...tokens), positions, slots: positions, sequence: new Int32Array(count) },
      ...{ qStart: ints(0), qLen: ints(count), ctxLen: ints(from + count), blockTable: ints(0, 1, 2, 3) },
      ...{ logitRows: Int32Array.from(tokens, (_, i) => i), temperature: new Float32Array(count) },
      ...{ topK: new Int32Array(count), topP: new Float32Array(count).fill(1), minP: new Float32Array(count) },
      ...{ seed: new Uint32Array(2 * count), drawPosition: positions, countRow: new Int32Array(count) },
      penalties: new Float32Array(3 * count).map((_, i) => (i % 3 === 0 ? 1 : 0)),
      biasRow: ints(-1, -1, -1, -1),
      ...{ biasToken: new Int32Array(4), biasValue: new Float32Array(4) },
    };
    const ticket = this.#device.submit(this.#bound, new Map(Object.entries(inputs)), { T: count, S: 1, R: count });
    const results = await this.#device.wait(ticket, Number.POSITIVE_INFINITY);
    const view = (name: string) => {
      const found = results.get(name);
      assert.ok(found !== undefined);
      return found.buffer.slice(found.byteOffset, found.byteOffset + found.byteLength);
    };
    return { logits: new Float32Array(view('logits')), ids: new Int32Array(view('ids')) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device[Symbol.asyncDispose]();
  }
}

/** The gap between the two largest logits of the last row. */
function gap(logits: Float32Array, vocabulary: number): number {
  const [first, second] = [...logits.subarray(-vocabulary)].sort((a, b) => b - a);
  return first - second;
}

/** Products and attentions that neither wait for a collective of their function nor are waited for by it: what it could overlap. */
function besideCollectives({ main, functions }: Program): readonly string[] {
  return [main, ...functions.values()].flatMap(({ body }) => {
    const before = new Map<Op, ReadonlySet<Op>>();
    for (const op of body) {
      const makers = [...reads(op)].flatMap(({ owner }) => (owner.kind === 'op' ? [owner] : []));
      before.set(op, new Set(makers.flatMap((maker) => [maker, ...(before.get(maker) ?? [])])));
    }
    const needs = (op: Op, other: Op) => before.get(op)?.has(other) === true;
    const works = body.filter(({ name }) => name === 'dot_general' || name === 'composite');
    return body.filter(isCollective).flatMap((meeting) =>
      works.flatMap((op) => {
        const name = op.name === 'composite' ? op.attributes.name : op.name;
        const apart = !needs(op, meeting) && !needs(meeting, op) && /dot|attention/.test(name);
        return apart ? [`${meeting.name} beside ${name}`] : [];
      }),
    );
  });
}

/**
 * Norms over all heads' queries wait for others while values could be computed; so do heads that cannot be divided evenly, and
 * products of each head with its matrix where the matrices are divided, not the heads.
 */
const overlaps = new Map([
  ['gemma3', ['all_gather beside ingot.quantized_dot']],
  ['olmo2', ['all_reduce beside ingot.quantized_dot', 'all_gather beside ingot.quantized_dot']],
  ['olmoe', ['all_reduce beside ingot.quantized_dot']],
  ['deepseek-v2-lite, absorbed,', ['all_gather beside ingot.quantized_dot', 'all_to_all beside ingot.quantized_dot']],
]);

/** Times that ranks meet in a layer, where all can be divided evenly: one function, which all layers alike call. */
const meetingsOfLayer = new Map([
  ['llama3', 2],
  ['olmo2', 3],
  ['gpt-neox', 1],
  ['mixtral', 2],
  ['qwen2-moe', 2],
]);

function meetings({ functions }: Program): number {
  const layer = functions.get('layer');
  return layer === undefined ? 0 : [...walk(layer)].filter(isCollective).length;
}

/** Of the weights, what a rank has at most: its part, norms, and what heads it shares. Two heads, one of keys, are few for 3 ranks and 4. */
const most = (name: string, form: string, size: number) => (name === 'gemma3' || form !== '' ? 0.7 : 1 / size + 0.2);

const ofExperts = /_exps\.weight$/;

const cases = [
  ...modelNames.map((name) => ({ name, form: '', open: () => openCheckpoint(modelFolder(name)) })),
  { name: 'deepseek-v2-lite', form: ', absorbed,', open: () => openAbsorbed('deepseek-v2-lite') },
];

for (const { name, form, open } of cases) {
  test(`${name}${form} on 2, 3 and 4 ranks: logits and greedy ids of one rank`, async (t) => {
    const { ids } = await golden(name);
    await using checkpoint = await open();
    const model = openModel(checkpoint);
    const program = model.build({ limits, results: ['logits', 'sample'], kv: 'f32', numerics: 'f32' });
    await using one = await new Rank(program).load(model.weights);
    const largestOf = (logits: Float32Array) => logits.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const alone: { tokens: readonly number[]; from: number; logits: Float32Array; ids: Int32Array }[] = [];
    for (let tokens: readonly number[] = ids.slice(0, 12), from = 0; alone.length < answer; ) {
      const step = await one.step(tokens, from);
      alone.push({ tokens, from, ...step });
      from += tokens.length;
      tokens = [step.ids[step.ids.length - 1]];
    }

    for (const size of [2, 3, 4]) {
      await t.test(`${size} ranks`, async () => {
        const mesh = { axes: [{ name: 'tensor', size }] };
        const plan = planOf(program, mesh);
        const group = createHostGroup(size);
        const ranks = await Promise.all(
          group.map(async (communicator, rank) => {
            const local = localProgram(plan, rank);
            verify(local.program);
            if (size === 2 && meetingsOfLayer.has(name))
              assert.equal(meetings(local.program), meetingsOfLayer.get(name));
            local.parameters.forEach(({ splits }, i) => {
              const { name: weight } = program.parameters[i];
              if (ofExperts.test(weight)) assert.ok(splits.some(Boolean), `${weight} is whole on every rank`);
            });
            const idle = besideCollectives(local.program).filter(
              (what) => !(overlaps.get(name + form) ?? []).includes(what),
            );
            assert.deepEqual(idle, [], 'a chain, in which nothing could be computed meanwhile');
            const place = new Place(mesh, rank);
            const weights = new Map(
              program.parameters.flatMap((parameter, i) => {
                const stored = model.weights.get(parameter.name);
                const ranges = local.parameters[i].splits.map((split) => split && place.ranges(split));
                return stored === undefined ? [] : [[parameter.name, sliceTensor(stored, ranges)] as const];
              }),
            );
            const bytes = [...weights.values()].reduce((sum, stored) => sum + stored.bytes.length, 0);
            return { bytes, rank: await new Rank(local.program).load(weights, communicator) };
          }),
        );
        const all = [...model.weights.values()].reduce((sum, stored) => sum + stored.bytes.length, 0);
        const held = Math.max(...ranks.map(({ bytes }) => bytes));
        assert.ok(held < most(name, form, size) * all, `a rank holds ${held} bytes of ${all}`);
        for (const { tokens, from, logits, ids } of alone) {
          const steps = await Promise.all(ranks.map(({ rank }) => rank.step(tokens, from)));
          for (const step of steps) {
            const worst = step.logits.reduce((max, value, i) => Math.max(max, Math.abs(value - logits[i])), 0);
            assert.ok(worst <= tolerance * largestOf(logits), `logits differ by ${worst} of ${largestOf(logits)}`);
            const near = gap(logits, model.vocabularySize) < 2 * worst;
            if (!near) assert.equal(step.ids.at(-1), ids.at(-1));
          }
        }
        for (const { rank } of ranks) await rank[Symbol.asyncDispose]();
      });
    }
  });
}
