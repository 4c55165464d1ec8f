/** The search for a machine's schedule, and what is remembered of it. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { anyModel, matrixShapes, modelClass } from '../../src/devices/cpu/matrix-shapes.ts';
import { choices, type Schedule, schedules } from '../../src/devices/cpu/schedule.ts';
import { targetKey, targets } from '../../src/devices/cpu/target.ts';
import { threadCounts, tuneMachine } from '../../src/devices/cpu/tune.ts';
import { describeChanges, recallTunings, rememberTuning, tunedChoice } from '../../src/devices/cpu/tunings.ts';
import { search } from '../../src/devices/tuner.ts';
import { noCpu } from '../conformance/devices.ts';
import { generator } from './cpu-products-harness.ts';
import { system } from './machine.ts';

const home = mkdtempSync(join(tmpdir(), 'ingot-tunings-'));
const before = process.env.XDG_CACHE_HOME;
process.env.XDG_CACHE_HOME = home;
after(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(home, { recursive: true, force: true });
});

interface Point {
  readonly depth: number;
  readonly kind: 'a' | 'b' | 'c';
  readonly useless: number;
}
const space = {
  start: { depth: 1, kind: 'a', useless: 0 } satisfies Point as Point,
  choices: { depth: [0, 1, 2, 3, 4, 5], kind: ['a', 'b', 'c'], useless: [0, 1, 2] },
  names: ['depth', 'kind', 'useless'],
} as const;
const soon = () => performance.now() + 20_000;

test('the search finds the quickest, in noise and where the machine gets slower meanwhile', async () => {
  const next = generator(3);
  let turns = 0;
  const measure = ({ depth, kind }: Point, name: keyof Point) => {
    const drift = 1 + turns++ / 300;
    const noise = () => 1 + (next() % 1000) / 20_000 + (next() % 9 === 0 ? 1 : 0);
    const work = 1 + 0.15 * Math.abs(depth - (kind === 'c' ? 4 : 3)) + (kind === 'c' ? 0 : 0.3);
    return name === 'useless' ? [drift * noise()] : [drift * noise() * work, drift * noise() * work * 3];
  };
  const found = await search({ ...space, measure }, { deadline: soon() });
  assert.deepEqual(found, { depth: 4, kind: 'c', useless: 0 });
});

test('what is no quicker changes nothing, however it scatters', async () => {
  const next = generator(5);
  const measure = () => [1 + (next() % 1000) / 1000];
  for (let round = 0; round < 5; round++) {
    assert.deepEqual(await search({ ...space, measure }, { deadline: soon() }), space.start);
  }
});

test('a search that is stopped keeps what it had found', async () => {
  const controller = new AbortController();
  const measure = ({ depth, kind }: Point) => {
    if (kind !== 'a') controller.abort();
    return [10 - depth - (kind === 'b' ? 5 : 0)];
  };
  const options = { deadline: soon(), signal: controller.signal };
  const found = await search({ ...space, measure }, options);
  assert.equal(found.depth, 5);
  assert.equal(found.useless, 0);
  assert.deepEqual(await search({ ...space, measure }, { deadline: performance.now() - 1 }), space.start);
});

test('every schedule that is usual is a choice', () => {
  for (const schedule of Object.values(schedules)) {
    for (const [name, some] of Object.entries(choices)) {
      assert.ok((some as readonly unknown[]).includes(schedule[name as keyof Schedule]), name);
    }
  }
  const other = { ...targets.avx2, schedule: { ...schedules.avx2, sharing: 3 } };
  assert.notEqual(targetKey(other), targetKey(targets.avx2), 'code that is kept depends on it');
  const usual = { schedule: schedules.avx2, threads: 8 };
  const changed = { schedule: other.schedule, threads: 4 };
  assert.equal(describeChanges(usual, usual), '');
  assert.equal(describeChanges(usual, changed), 'sharing 3 (usual: 2), threads 4 (usual: 8)');
});

test('classes of models', () => {
  const weight = (format: string, shape: readonly number[], length: number) =>
    ({ format, shape, bytes: { name: '', length, read: () => assert.fail() } }) as const;
  const shapes = matrixShapes([
    weight('f32', [2048], 1e9),
    weight('q6_K', [128256, 2048], 50),
    weight('q4_0', [8192, 2048], 30),
    weight('q4_0', [8192, 2048], 30),
    weight('q4_0', [2048, 8192], 40),
    weight('q4_0', [512, 2048], 1),
  ]);
  assert.deepEqual(shapes[0], { format: 'q4_0', N: 8192, K: 2048 });
  assert.equal(shapes.length, 3);
  assert.equal(modelClass(shapes), 'q4_0 2048');
  assert.equal(modelClass([]), anyModel);
});

test('what was found comes back for its class, else for any', { skip: noCpu ?? false }, async () => {
  const target = targets.avx2;
  const usual = { schedule: target.schedule, threads: 2 };
  const of = (sharing: number, threads = 2) => ({
    ...{ schedule: { ...target.schedule, sharing }, threads, gains: [{ work: 'w', gain: 1.1 }] },
  });
  assert.deepEqual(tunedChoice(system(), 2, target, 'q4_0 2048'), usual);
  assert.ok(await rememberTuning(system(), 2, target, anyModel, of(3)));
  assert.ok(await rememberTuning(system(), 2, target, 'q4_0 2048', of(4, 1)));
  const { schedule, threads } = tunedChoice(system(), 2, target, 'q4_0 2048');
  assert.deepEqual([schedule.sharing, threads], [4, 1]);
  const any = tunedChoice(system(), 2, target, 'q8_0 1024');
  assert.deepEqual([any.schedule.sharing, any.threads], [3, 2]);
  const otherSet = tunedChoice(system(), 2, targets.amx, 'q8_0 1024');
  assert.equal(otherSet.schedule, targets.amx.schedule, 'of another instruction set');
  const times = Array.from({ length: 20 }, () => {
    const start = performance.now();
    tunedChoice(system(), 2, target, 'q4_0 2048');
    return performance.now() - start;
  });
  assert.ok(Math.min(...times) < 10, `costs a start ${Math.min(...times)} ms`);
});

test('where nothing was faster than what was usual, what is usual now counts', { skip: noCpu ?? false }, async () => {
  const target = targets.avx2;
  const found = { schedule: { ...target.schedule, sharing: 3 }, threads: 1, gains: [] };
  await rememberTuning(system(), 2, target, anyModel, found);
  const { schedule, threads } = tunedChoice(system(), 2, target, anyModel);
  assert.deepEqual({ schedule, threads }, { schedule: target.schedule, threads: 2 });
});

test('what is bad or of another version is not used, and said', { skip: noCpu ?? false }, async () => {
  const target = targets.avx2;
  const good = { ...target.schedule, sharing: 3 };
  await rememberTuning(system(), 2, target, anyModel, { schedule: good, threads: 2, gains: [] });
  const [machine] = [...Object.keys(await remembered())];
  const file = await remembered();
  const entry = file[machine ?? '']?.[anyModel] ?? assert.fail();
  for (const wrong of [
    { ...entry, version: '0.0.0' },
    { ...entry, schedule: { ...good, prefetchBytes: 1e9 } },
    { ...entry, schedule: { ...good, prefetch: undefined } },
    { ...entry, schedule: null },
    { ...entry, threads: 3 },
    { ...entry, threads: 0.5 },
    { ...entry, threads: undefined },
    { ...entry, gains: [1] },
    'nothing',
    [],
    null,
  ]) {
    write(JSON.stringify({ [machine ?? '']: { [anyModel]: wrong } }));
    const said: string[] = [];
    assert.deepEqual(
      tunedChoice(system(), 2, target, 'q4_0 2048', (why) => said.push(why)),
      { schedule: target.schedule, threads: 2 },
    );
    assert.equal(said.length, 1);
    assert.equal(recallTunings(system(), 2, target).get(anyModel)?.kind, 'unused');
  }
  for (const text of ['', '{', '[]', 'null', '{"a": 3}']) {
    write(text);
    assert.deepEqual(
      tunedChoice(system(), 2, target, anyModel, () => assert.fail()),
      { schedule: target.schedule, threads: 2 },
    );
  }
});

async function remembered(): Promise<Record<string, Record<string, Record<string, unknown>>>> {
  const { readFileSync } = await import('node:fs');
  return JSON.parse(readFileSync(join(home, 'ingot', 'tunings.json'), 'utf8'));
}

function write(text: string): void {
  mkdirSync(join(home, 'ingot'), { recursive: true });
  writeFileSync(join(home, 'ingot', 'tunings.json'), text);
}

test('numbers of threads that are tried', () => {
  assert.deepEqual(threadCounts(1), [1]);
  assert.deepEqual(threadCounts(2), [2, 1]);
  assert.deepEqual(threadCounts(16), [16, 15, 12, 8, 4, 2, 1]);
  assert.deepEqual(threadCounts(6), [6, 5, 3, 2]);
});

test('a machine is tuned: every schedule that is tried has the same results', { skip: noCpu ?? false }, async () => {
  const shapes = [
    { format: 'q4_0', N: 64, K: 256 },
    { format: 'f16', N: 48, K: 64 },
  ];
  const controller = new AbortController();
  let trials = 0;
  const onTrial = () => {
    trials++;
    if (trials === 4) controller.abort();
  };
  const options = { deadline: Number.POSITIVE_INFINITY, signal: controller.signal, onTrial };
  const { schedule, threads, gains } = await tuneMachine(system(), targets.avx2, shapes, options);
  assert.equal(trials, 4);
  assert.ok(threads >= 1);
  for (const [name, some] of Object.entries(choices)) {
    assert.ok((some as readonly unknown[]).includes(schedule[name as keyof Schedule]), name);
  }
  for (const { gain } of gains) assert.ok(gain > 0);
});
