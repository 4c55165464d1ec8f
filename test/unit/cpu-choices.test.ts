/** What the doctor says was chosen on machines unlike the one at hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainChoices, type MachineFacts } from '../../src/devices/cpu/choices.ts';
import { type InstructionSet, setsFor } from '../../src/devices/cpu/target.ts';

const avx2 = ['avx2', 'fma', 'f16c', 'bmi2'];
const avx512 = [...avx2, 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512cd', 'avx512_vnni'];
const amx = [...avx512, 'avx512_bf16', 'amx_tile', 'amx_int8', 'amx_bf16'];
const passed = (set: InstructionSet) => ({ set, passed: true, areas: [] }) as const;
const cores = (count: number) => Array.from({ length: count }, (_, core) => core);

function explained(
  names: readonly string[],
  changes: Partial<MachineFacts> = {},
  withheld: readonly string[] = [],
): string {
  const limits = { cores: cores(4), hugePages: true };
  const features = { model: '', names: new Set(names), withheld };
  const set: InstructionSet = names.includes('amx_tile') ? 'amx' : names.includes('avx512f') ? 'vnni' : 'avx2';
  const facts = { features, grantsTiles: true, verdicts: [passed(set)], limits, cores: 4, availableBytes: 2 ** 33 };
  return explainChoices({ ...facts, ...changes }).join('\n');
}

const rows: readonly { readonly what: string; readonly said: string; readonly patterns: readonly RegExp[] }[] = [
  {
    what: 'everything there: nothing to explain',
    said: explained(amx),
    patterns: [
      /^code for amx, the best set that passed its self-test\n4 threads: one a core\nmodels that need up to 8.0 GiB;/,
    ],
  },
  {
    what: 'no permission for tiles',
    said: explained(amx, { grantsTiles: false, verdicts: [passed('vnni')] }),
    patterns: [/code for vnni.*\nnone for amx: the system does not grant tile registers/],
  },
  {
    what: 'AVX-512 masked by a hypervisor',
    said: explained([...avx2, 'hypervisor']),
    patterns: [
      /code for avx2/,
      /none for avx512 and better: the processor lacks avx512f, .*, or the hypervisor hides it/,
    ],
  },
  {
    what: 'AVX-512 whose registers the system does not keep',
    said: explained(avx2, {}, amx.slice(avx2.length)),
    patterns: [/none for avx512 and better: the processor has avx512f, .*, but the system keeps no registers for it/],
  },
  {
    what: 'a kernel that is wrong here',
    said: explained(avx512, {
      verdicts: [
        { set: 'vnni', passed: false, kernel: 'quantized_dot q4_0 i8', problem: 'SIGILL ended it' },
        passed('avx512'),
      ],
    }),
    patterns: [/code for avx512,/, /none for vnni: .*quantized_dot q4_0 i8: SIGILL ended it/],
  },
  {
    what: 'one core',
    said: explained(avx2, { limits: { cores: [3], hugePages: true } }),
    patterns: [/1 thread: this process may run on 1 of 4 cores\nJavaScript takes turns/],
  },
  {
    what: 'a quota of a control group, and memory',
    said: explained(avx2, {
      limits: { cores: cores(4), quota: 1.5, memory: { limit: 2 ** 30, used: 2 ** 29 }, hugePages: true },
      availableBytes: 2 ** 29,
    }),
    patterns: [
      /1 thread: its control group grants the time of 1.5/,
      /need up to 512 MiB, of 1.0 GiB that its control group grants/,
    ],
  },
  {
    what: 'many cores in several nodes',
    said: explained(avx512, { limits: { cores: cores(128), nodes: 2, hugePages: true }, cores: 128 }),
    patterns: [
      /128 threads: one a core\nmemory of 2 nodes is used as one/,
      /more than 64 threads meet at every barrier/,
    ],
  },
  {
    what: 'huge pages refused',
    said: explained(avx2, { limits: { cores: cores(4), hugePages: false } }),
    patterns: [/no pages of 2 MiB: the system refuses them/],
  },
];

for (const { what, said, patterns } of rows) {
  test(what, () => {
    for (const pattern of patterns) assert.match(said, pattern);
  });
}

test('a set that was chosen is not explained away, and lower ones need no reason', () => {
  for (const set of setsFor({ names: new Set(amx) })) {
    const said = explained(amx, { verdicts: [passed(set)], grantsTiles: set === 'amx' });
    assert.doesNotMatch(said, new RegExp(`none for ${set}:`));
  }
});
