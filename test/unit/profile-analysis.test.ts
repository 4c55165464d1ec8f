/** What a profile says of gaps, what a trace holds, and how a comparison is judged, by figures that are easy to follow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Comparison } from '../../bench/cpu/compare.ts';
import type { Row, SpeedRow } from '../../bench/cpu/rows.ts';
import { judge, tableLine } from '../../bench/cpu/table.ts';
import { analyse } from '../../src/cli/profile-analysis.ts';
import { traceOf } from '../../src/cli/trace-events.ts';
import type { KernelProfile } from '../../src/devices/device.ts';

const hardware = {
  name: '',
  memoryBytes: 0,
  threads: 2,
  readBytesPerSecond: 100,
  operationsPerSecond: { f32: 10 },
};

function kernel(name: string, seconds: number, bytes: number, operations: number): KernelProfile {
  const cost = { bytes, operations, element: 'f32' } as const;
  return { kernel: name, how: 'machine code', calls: 1, seconds, threadSeconds: [seconds], barrierSeconds: 0, cost };
}

test('the three largest gaps, what bounds them, and the speed without each', () => {
  const kernels = [
    kernel('at the limit', 4, 400, 0),
    kernel('slow arithmetic', 3, 0, 10),
    kernel('slow memory', 1, 50, 1),
    kernel('less', 0.5, 10, 0),
    kernel('least', 0.2, 10, 0),
    kernel('from caches', 0.1, 100, 0),
  ];
  const { gaps, kernelSeconds, wakeSeconds, javascriptSeconds } = analyse(
    12,
    24,
    { runs: 24, seconds: 10, kernels },
    hardware,
  );
  assert.deepEqual(
    gaps.map(({ kernel, lost, bound, tokensPerSecond }) => [kernel, lost, bound, tokensPerSecond]),
    [
      ['slow arithmetic', 2, 'arithmetic', 2.4],
      ['slow memory', 0.5, 'memory', 24 / 11.5],
      ['less', 0.4, 'memory', 24 / 11.6],
    ],
  );
  assert.ok(Math.abs(kernelSeconds + wakeSeconds + javascriptSeconds - 12) < 1e-9);
});

test('a trace holds runs, what lies between them, and kernels with their barriers, in microseconds', () => {
  const timeline = {
    runs: [
      { start: 1, end: 2 },
      { start: 12, end: 15 },
      { start: 16, end: 17 },
    ],
    kernels: [
      { kernel: 'before', thread: 0, start: 1.5, seconds: 0.0001, waited: 0 },
      { kernel: 'add', thread: 1, start: 12.5, seconds: 0.001, waited: 0.0005 },
    ],
  };
  const { traceEvents } = traceOf([{ test: 'tg2', start: 10, end: 17, timeline }], {});
  const seen = traceEvents.flatMap((event) => (event.ph === 'X' ? [[event.tid, event.name, event.ts, event.dur]] : []));
  assert.deepEqual(seen, [
    [0, 'JavaScript between runs', 10000, 2000],
    [0, 'tg2, run 1 of 2', 12000, 3000],
    [0, 'JavaScript between runs', 15000, 1000],
    [0, 'tg2, run 2 of 2', 16000, 1000],
    [2, 'add', 12500, 1000],
    [2, 'barrier', 13500, 500],
  ]);
  assert.equal(traceEvents.filter(({ ph }) => ph === 'M').length, 4);
});

const decode: SpeedRow = {
  ...{ kind: 'speed', work: 'decode', model: { shape: 'tiny', type: 'q4_0' }, numerics: 'exact', kv: 'bf16', bar: 1.3 },
  peer: 'llama.cpp',
  test: { kind: 'decode', tokens: 10, depth: 0, sequences: 1 },
};
const machine = { bytes: 100, operations: 1000 };

function compared(own: readonly number[], other: readonly number[], bytes = 10): Comparison {
  const samples = (seconds: readonly number[]) =>
    seconds.map((each) => ({ seconds: each, bytes, operations: 1, peakBytes: 5 }));
  const failed = { setting: 'b', failed: 'no memory' };
  return { ingot: { setting: '', samples: samples(own) }, peer: [{ setting: 'a', samples: samples(other) }, failed] };
}

test('medians are compared, and the bar is what the machine allows where that is less', () => {
  const judged = judge(decode, compared([1, 4, 2], [4, 3, 5]), machine);
  assert.deepEqual([judged?.ingot.median, judged?.ingot.best, judged?.ratio, judged?.met], [5, 10, 2, true]);
  assert.equal(judged?.ofLimit, 0.05);
  assert.equal(judge(decode, compared([2], [2.5]), machine)?.met, false);
  // 1.3 times the other's speed would take 117% of the bandwidth.
  const bound = judge(decode, compared([1.04], [1.11], 100), machine);
  assert.deepEqual([bound?.bar, bound?.met], [{ ofFloor: 0.95 }, true]);
  assert.equal(judge(decode, compared([1.06], [1.11], 100), machine)?.met, false);
  const memory: Row = { kind: 'memory', work: 'peak memory', model: decode.model, bar: 0.65 };
  assert.deepEqual(
    [judge(memory, compared([1], [1]), machine)?.ratio, judge(memory, compared([1], [1]), machine)?.met],
    [1, false],
  );
});

test('a side that fails is named in its row', () => {
  const failed: Comparison = { ingot: { setting: '', failed: 'its process ended (1)' }, peer: [] };
  assert.equal(judge(decode, failed, machine), undefined);
  assert.match(
    tableLine(decode, failed, machine, { packedBytes: 1024, head: 'q4_0' }),
    /not measured: Ingot: its process ended \(1\) \|$/,
  );
  const samples = [{ seconds: 1, peakBytes: 5 }];
  const ended: Comparison = { ingot: { setting: '', samples }, peer: [{ setting: '', failed: 'no such file' }] };
  const row: SpeedRow = { ...decode, peer: 'onnxruntime-node' };
  assert.match(
    tableLine(row, ended, machine, { packedBytes: 1024, head: 'q4_0' }),
    /not measured: onnxruntime-node: no such file \|$/,
  );
});
