/** The self-test of kernels: what it reaches, that a bad kernel is named and ends no process but its own, what is remembered. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { allAreas, modelAreas } from '../../src/devices/cpu/self-test/areas.ts';
import { type ProgramTest, programTest } from '../../src/devices/cpu/self-test/program-test.ts';
import { describeVerdict, selfTest, trustedSet } from '../../src/devices/cpu/self-test/self-test.ts';
import { selfTests } from '../../src/devices/cpu/self-test/table.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { repositoryPath } from '../fixtures.ts';
import { skip } from './cpu-emit-harness.ts';
import { system } from './machine.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-self-test-'));
const home = process.env.XDG_CACHE_HOME;
before(() => {
  process.env.XDG_CACHE_HOME = folder;
});
after(() => {
  if (home === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = home;
  rmSync(folder, { recursive: true });
});

/** A program in the place of the self-test's own; it sees `runTests`, `say`, `set` and `native`, which runs bytes of code. */
function double(name: string, body: string): string {
  const path = join(folder, `${name}.mjs`);
  const at = (file: string) => JSON.stringify(repositoryPath('dist', 'src', 'devices', 'cpu', ...file.split('/')));
  writeFileSync(
    path,
    `import { runTests } from ${at('self-test/run-tests.js')};
import { findSystem } from ${at('os/open.js')};
const set = process.argv[2];
const say = (report) => console.log(JSON.stringify(report));
const native = (bytes) => findSystem().system.mapCode(Uint8Array.from(bytes)).callable(0, { takes: [], returns: 'void' })();
const fine = { name: 'fine', area: 'common', run: async () => undefined };
${body}`,
  );
  return path;
}

/** The system with features that the processor may not have. */
const withAvx512: () => OperatingSystem = () => ({
  ...system(),
  cpuFeatures: () => ({
    model: 'a test',
    names: new Set('avx2 fma f16c bmi2 avx512f avx512bw avx512dq avx512vl avx512cd'.split(' ')),
    withheld: [],
  }),
});

test('self-test: every kernel passes, and the next start knows', { skip }, async () => {
  const first = await selfTest(system(), { again: true });
  assert.deepEqual(first.verdicts.map(describeVerdict), [`code for ${trustedSet(first)} passed its self-test`]);
  assert.equal(first.remembered, true);
  const second = await selfTest(system(), { program: join(folder, 'absent.js'), onTest: assert.fail });
  assert.deepEqual(second, first);
});

test('self-test: kernels of an area are tried when it is first needed, and only those', { skip }, async () => {
  const program = double('echo', 'say({ kind: "wrong", kernel: process.argv.slice(3).join(" "), problem: "asked" });');
  const passes = double('passes', 'await runTests("avx2", [fine]);');
  const areasOf = (formats: readonly string[]) =>
    modelAreas(
      formats.map((format) => ({ format, shape: [1, 1] })),
      false,
    );
  const tested = async (formats: readonly string[], by: string) => {
    const [verdict] = (await selfTest(withAvx2(), { program: by, areas: areasOf(formats) })).verdicts;
    return verdict?.passed ? verdict.areas : verdict?.kernel.split(' ')[0];
  };
  assert.deepEqual((await selfTest(withAvx2(), { program: passes, areas: areasOf(['q8_0']), again: true })).verdicts, [
    { set: 'avx2', passed: true, areas: ['common', 'q8_0'] },
  ]);
  assert.deepEqual(await tested(['q8_0', 'of no kernel'], program), ['common', 'q8_0']);
  assert.deepEqual(await tested(['q4_0', 'q8_0', 'q4_K'], passes), ['common', 'q8_0', 'q4_0', 'q4_K']);
  assert.deepEqual(await tested(['q8_0', 'q6_K'], program), 'q6_K');
  const all = (await selfTest(withAvx2(), { program: passes, again: true })).verdicts[0];
  assert.ok(all?.passed && allAreas.every((area) => all.areas.includes(area)));
});

test('self-test: areas have all tests between them, and those of a model what it computes', () => {
  const names = (areas: readonly string[]) => [...selfTests(areas)].map(({ name }) => name);
  const all = [...selfTests()];
  assert.deepEqual(new Set(all.map(({ area }) => area)), new Set(allAreas));
  const common = all.filter(({ area }) => area === 'common').map(({ name }) => name);
  assert.deepEqual(names(['common']), common);
  const experts = { format: 'q4_0', shape: [4, 64, 64] };
  const added = (bf16: boolean) => names(modelAreas([experts], bf16)).filter((name) => name.includes('q4_0'));
  assert.deepEqual(added(false), ['quantized_dot q4_0 i8', 'routed_dot q4_0 i8', 'quantized_take q4_0']);
  assert.deepEqual(added(true).slice(0, 2), ['quantized_dot q4_0 i8', 'quantized_dot q4_0 bf16']);
  assert.deepEqual(names(['f32']), ['quantized_dot f32 f32', 'quantized_take f32']);
});

test('self-test: rows have names of their own, and known answers are those of the reference device', async () => {
  const tests = [...selfTests()];
  assert.equal(new Set(tests.map(({ name }) => name)).size, tests.length);
  const known = tests.filter(({ name }) => name.startsWith('sample'));
  assert.equal(known.length, 2);
  for (const each of known) assert.equal(await each.run(createReferenceDevice()), undefined);
});

test('self-test: an instruction that the processor refuses names its kernel, and the next set is used', {
  skip,
}, async () => {
  const program = double(
    'crash',
    `say({ kind: 'begin', kernel: 'fine' });
if (set === 'avx512') { say({ kind: 'begin', kernel: 'evil kernel' }); native([0x0f, 0x0b]); }
say({ kind: 'passed', count: 1 });`,
  );
  let begun = 0;
  const onTest = () => void begun++;
  const outcome = await selfTest(withAvx512(), { program, again: true, areas: ['common', 'q8_0'], onTest });
  assert.equal(begun, 1, 'of two sets that are tried the first is told of');
  assert.deepEqual(outcome.verdicts, [
    { set: 'avx512', passed: false, kernel: 'evil kernel', problem: 'SIGILL ended it' },
    { set: 'avx2', passed: true, areas: ['common', 'q8_0'] },
  ]);
  assert.equal(trustedSet(outcome), 'avx2');
  assert.equal(outcome.remembered, true);
});

test('self-test: wrong bits, a crash in machine code and a kernel that does not return are named', {
  skip,
}, async () => {
  const cases: readonly (readonly [string, string, RegExp, number?])[] = [
    ['wrong', "{ name: 'bad', run: async () => 'y[3] is 1, not 2' }", /^y\[3\] is 1, not 2$/],
    ['crash', "{ name: 'bad', run: async () => native([0x0f, 0x0b]) }", /^SIGILL ended it$/],
    ['fault', "{ name: 'bad', run: async () => native([0x31, 0xc0, 0x88, 0x00, 0xc3]) }", /^SIGSEGV ended it$/],
    ['throws', "{ name: 'bad', run: async () => { throw new Error('no code') } }", /no code/],
    ['endless', "{ name: 'bad', run: async () => native([0xeb, 0xfe]) }", /^it did not end in 3 s$/, 3000],
  ];
  for (const [name, row, problem, kernelMilliseconds] of cases) {
    const program = double(name, `await runTests('avx2', [fine, ${row}, fine]);`);
    const { verdicts } = await selfTest(withAvx2(), {
      program,
      again: true,
      ...(kernelMilliseconds !== undefined && { kernelMilliseconds }),
    });
    const [verdict] = verdicts;
    assert.ok(verdicts.length === 1 && verdict?.passed === false, name);
    assert.equal(verdict.kernel, 'bad');
    assert.match(verdict.problem, problem);
  }
});

const withAvx2: () => OperatingSystem = () => ({
  ...system(),
  cpuFeatures: () => ({ model: 'a test', names: new Set(['avx2', 'fma', 'f16c', 'bmi2']), withheld: [] }),
});

test('self-test: what a user or the system ended is not remembered against the processor', { skip }, async () => {
  const program = double('ended', "say({ kind: 'begin', kernel: 'fine' }); process.kill(process.pid, 'SIGTERM');");
  const { verdicts, remembered } = await selfTest(withAvx2(), { program, again: true });
  assert.equal(verdicts[0]?.passed, false);
  assert.equal(remembered, false);
});

test('self-test: what is remembered of other code or cannot be read counts for nothing', { skip }, async () => {
  const program = double('passes', 'await runTests("avx2", [fine]);');
  const path = join(folder, 'ingot', 'self-test.json');
  const failing = double('fails', "say({ kind: 'wrong', kernel: 'k', problem: 'p' });");
  await selfTest(withAvx2(), { program: failing, again: true });
  assert.equal((await selfTest(withAvx2(), { program })).verdicts[0]?.passed, false);
  const kept = readFileSync(path, 'utf8');
  for (const text of [
    kept.slice(0, 90),
    '[]',
    'null',
    kept.replace('"code": "', '"code": "x'),
    kept.replace('"avx2"', '3'),
  ]) {
    writeFileSync(path, text);
    assert.equal((await selfTest(withAvx2(), { program })).verdicts[0]?.passed, true, text);
  }
});

test('self-test: a folder that cannot be written only means that the next start tests again', { skip }, async () => {
  process.env.XDG_CACHE_HOME = join(folder, 'passes.mjs');
  const { verdicts, remembered } = await selfTest(withAvx2(), {
    program: double('passes', 'await runTests("avx2", [fine]);'),
    areas: ['common'],
  });
  process.env.XDG_CACHE_HOME = folder;
  assert.deepEqual([verdicts, remembered], [[{ set: 'avx2', passed: true, areas: ['common'] }], false]);
});

test('self-test: a result that is off by one bit is found', { skip }, async () => {
  await using device = createCpuDevice(system(), {});
  const row = [...selfTests()].find(({ name }) => name === 'quantized_dot q4_0 i8') as unknown as ProgramTest;
  const runs = row.runs.map((run) => {
    const y = (run.expected as { readonly y: Float32Array }).y.slice();
    new Int32Array(y.buffer)[5] ^= 1;
    return { ...run, expected: { y } };
  });
  assert.match((await programTest({ ...row, runs }).run(device)) ?? '', /^y\[5\] is .*, not /);
});
