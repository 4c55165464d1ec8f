/** The command line as a person meets it: real processes, the bundled model, wrong flags, broken files, Ctrl-C, a closed pipe. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { noCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
/** What is used where nothing is asked for. */
const device = noCpu === undefined ? 'cpu' : 'reference';
const folder = mkdtempSync(join(tmpdir(), 'ingot-cli-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What a test makes Ingot remember is not for whoever runs the test. */
const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), LOCALAPPDATA: join(folder, 'cache') };

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

type Child = ReturnType<typeof spawn>;

/** Runs `ingot ...`; `onOutput` sees the process with its first output, `onStart` when it was started. */
function ingot(
  args: readonly string[],
  onOutput?: (child: Child) => void,
  onStart?: (child: Child) => void,
  environment: NodeJS.ProcessEnv = env,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (out === '') onOutput?.(child);
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
    onStart?.(child);
  });
}

function file(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

test('run streams text to standard output and ends with one line of figures on standard error', async () => {
  const { code, out, err } = await ingot(['run', '-n', '24', '--seed', '7']);
  assert.equal(code, 0, err);
  assert.match(out, /^Once upon a time\S*( \S+){5}/);
  const lines = err.trim().split('\n');
  // Where the cpu device cannot be used a line before it says so.
  assert.equal(lines.length, noCpu === undefined ? 1 : 2, err);
  assert.match(
    lines[lines.length - 1],
    /TTFT [\d.]+ [mu]?s \| TBOT [\d.]+ [mu]?s \| [\d.]+ tokens\/s \| peak memory [\d.]+ MiB \| seed 7$/,
  );
});

test("options of Node's own, as for its heap, are taken", () => {
  const words = ['--max-old-space-size=512', main, 'run', '-n', '1'];
  const { status, stderr } = spawnSync(process.execPath, words, { cwd: folder, env, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

test('the same seed gives the same text, another seed another', async () => {
  const story = async (seed: string) => (await ingot(['run', 'The fox', '-n', '20', '--seed', seed])).out;
  const first = await story('1');
  assert.equal(await story('1'), first);
  assert.notEqual(await story('2'), first);
});

test('a model and a prompt: the same as the bundled model by its path; --json says it all in one object', async () => {
  const options = ['--temperature', '0', '-n', '12', '--json'];
  const byPath = JSON.parse((await ingot(['run', bundled, 'The fox', ...options])).out);
  const byDefault = JSON.parse((await ingot(['run', 'The fox', ...options])).out);
  assert.deepEqual(byPath.ids, byDefault.ids);
  assert.equal(byPath.ids.length, 12);
  assert.equal(byPath.finishReason, 'length');
  assert.equal(byPath.statistics.generatedTokens, 12);
  assert.ok(byPath.statistics.peakBytes > 1e7);
});

test('the prompt - is standard input, without its last line break; text that is none is said', () => {
  const continued = (input: string | Uint8Array, ...args: string[]) => {
    const words = [main, 'run', ...args, '--temperature', '0', '-n', '4', '--json'];
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: folder, env, input, encoding: 'utf8' });
    return { ids: JSON.parse(stdout).ids, stderr };
  };
  const { ids } = continued('', 'The fox');
  assert.deepEqual(continued('The fox\n', '-').ids, ids);
  assert.deepEqual(continued('The fox', bundled, '-').ids, ids);
  assert.match(continued(Uint8Array.of(0x61, 0xff), '-').stderr, /not all UTF-8/);
});

test('output that cannot be written is told', { skip: !existsSync('/dev/full') && 'there is no /dev/full' }, () => {
  const stdio = ['ignore', openSync('/dev/full', 'w'), 'pipe'] as const;
  const { status, stderr } = spawnSync(process.execPath, [main, 'run', '-n', '1'], {
    env,
    stdio: [...stdio],
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  assert.match(stderr, /standard output cannot be written: ENOSPC/);
});

test('--stop ends the text before the stop string', async () => {
  const { text } = JSON.parse((await ingot(['run', 'The fox', '--temperature', '0', '-n', '40', '--json'])).out);
  const stop = text.slice(10, 13);
  const stopped = JSON.parse(
    (await ingot(['run', 'The fox', '--temperature', '0', '-n', '40', '--json', '--stop', stop])).out,
  );
  assert.equal(stopped.text, text.slice(0, text.indexOf(stop)));
  assert.equal(stopped.finishReason, 'stop');
});

test('bench prints rows that a program can read, and measures the machine first where nothing is remembered of it', async () => {
  const options = ['bench', '-p', '16', '-n', '4', '-d', '8', '-b', '1', '-t', '2'];
  const measured = await ingot([...options, '--json']);
  if (device === 'cpu') assert.match(measured.err, /seconds.*read memory.*f32/s);
  const rows = JSON.parse(measured.out);
  assert.deepEqual(
    rows.map((row: { test: string }) => row.test),
    ['pp16', 'tg4@d8'],
  );
  for (const row of rows) {
    const { min, median, max } = row.seconds;
    assert.ok(row.tokens_per_second > 0 && min > 0 && min <= median && median <= max);
    assert.ok(row.peak_bytes > 1e7 && row.threads >= 1);
    assert.equal(row.device, device);
    assert.match(row.model, /bundled/);
    if (device === 'cpu') assert.ok(row.of_limit.share > 0 && /^(memory|arithmetic)$/.test(row.of_limit.by));
  }
  const { out, err } = await ingot(options);
  assert.match(out, /^test +tokens\/s +of limit/);
  assert.doesNotMatch(err, /read memory/, 'it is measured once');
});

test('bench --mesh says what ranks send each other', {
  skip: device !== 'cpu' && 'skipped, because the reference device counts no bytes',
}, async () => {
  const [prompt, answer] = JSON.parse(
    (await ingot(['bench', '-p', '8', '-n', '4', '--mesh', 'tensor=2', '--json'])).out,
  );
  // A token's sums are the same ones in a prompt and in an answer, but for what a row that is sampled takes.
  const [many, few] = [answer, prompt].map(({ communication }) => communication.sent_bytes_per_token);
  assert.ok(few > 1000 && many >= few && many < 1.1 * few, `${few} and ${many} bytes`);
  for (const { communication } of [prompt, answer]) {
    assert.ok(communication.exchanges_per_step > 2 && communication.share > 0 && communication.share < 1);
  }
});

test('--mesh divides the model among ranks: the same text, and programs that --dump shows', async () => {
  const args = ['run', 'Once upon a time', '-n', '12', '--temperature', '0'];
  const [one, two] = [await ingot(args), await ingot([...args, '--mesh', 'tensor=2', '--dump', 'ranks'])];
  assert.equal(two.code, 0, two.err);
  assert.equal(two.out, one.out);
  const rank = readdirSync(join(folder, 'ranks')).find((name) => name.endsWith('rank-1.mlir'));
  assert.match(readFileSync(join(folder, 'ranks', String(rank)), 'utf8'), /stablehlo\.all_reduce/);
  const seen = JSON.parse((await ingot(['inspect', bundled, '--mesh', 'tensor=2,data=4', '--json'])).out);
  assert.deepEqual([seen.replicas, seen.ranks.length, seen.ranks[0].ranks], [4, 1, 8]);
  for (const mesh of ['tensor', 'data=2', 'tensor=4000']) {
    const { code, err } = await ingot([...args, '--mesh', mesh]);
    assert.notEqual(code, 0);
    assert.match(err, /ingot: /, mesh);
    // What is to be typed keeps its case.
    if (mesh === 'data=2') assert.match(err, /^tensor=2 divides/m);
    if (mesh === 'tensor=4000') assert.match(err, /4000 ranks along 'tensor' are too many.*^--mesh tensor=\d+ is/ms);
  }
});

test('--weight-cache keeps packed weights in a folder: the same text, and one line where they cannot be kept', {
  skip: noCpu ?? (process.platform !== 'linux' && 'files are mapped on Linux only'),
}, async () => {
  const args = ['run', 'Once upon a time', '-n', '12', '--temperature', '0'];
  const { out } = await ingot(args);
  const kept = [...args, '--weight-cache', 'kept'];
  const [first, second] = [await ingot(kept), await ingot(kept)];
  assert.deepEqual([first.out, second.out], [out, out]);
  const [name, ...others] = readdirSync(join(folder, 'kept'));
  assert.match(first.err, new RegExp(`packed weights are kept in kept/${name} `));
  assert.doesNotMatch(second.err, /kept/);
  assert.deepEqual(others, []);
  const divided = await ingot([...kept, '--mesh', 'tensor=2']);
  assert.equal(divided.out, out);
  assert.match(divided.err, /^ingot: no packed weights are kept: /m);
});

test('inspect and doctor say what there is', async () => {
  const seen = JSON.parse((await ingot(['inspect', bundled, '--json'])).out);
  assert.equal(seen.runs, true);
  assert.equal(seen.metadata['general.architecture'], 'llama');
  assert.ok(seen.tensors.length > 20 && seen.memory.totalBytes > seen.memory.weightBytes);
  assert.match((await ingot(['inspect', bundled])).out, /token_embd\.weight +q8_0/);
  const found = JSON.parse((await ingot(['doctor', '--json'])).out);
  assert.equal(found.uses.device, device);
  assert.equal(found.bundledModel, bundled);
});

test('doctor shows what was measured, by doctor --measure as other commands start it', {
  skip: noCpu ?? false,
}, async () => {
  const { measured } = JSON.parse((await ingot(['doctor', '--json'])).out);
  assert.ok(measured.threads >= 1 && Date.now() - Date.parse(measured.taken) < 3_600_000);
  for (const of of ['read', 'copy', 'f32', 'i8']) {
    assert.ok(
      measured.figures.some((figure: { of: string }) => figure.of === of),
      of,
    );
  }
  for (const { name, one, all } of measured.figures) assert.ok(one > 1e8 && all > 1e8, name);
  assert.match((await ingot(['doctor'])).out, /Measured {3}20.*\n +read memory +[\d.]+ GB\/s by one thread/);
});

test('profile shows where the time goes, in figures that a program can read', async () => {
  const { code, out, err } = await ingot(['profile', '-p', '16', '-n', '4', '-d', '8', '-t', '2', '--json']);
  assert.equal(code, 0, err);
  // Where nothing is remembered yet it measures first, and says so.
  const phases = JSON.parse(out);
  assert.deepEqual(
    phases.map(({ test, tokens, runs }: { test: string; tokens: number; runs: number }) => [test, tokens, runs]),
    [
      ['pp16', 16, 1],
      ['tg4@d8', 4, 4],
    ],
  );
  for (const phase of phases) {
    assert.equal(phase.device, device);
    const { seconds, kernelSeconds, barrierSeconds, wakeSeconds, javascriptSeconds } = phase;
    assert.ok(Math.abs(kernelSeconds + wakeSeconds + javascriptSeconds - seconds) < 1e-6 * seconds);
    assert.ok(kernelSeconds > 0 && barrierSeconds >= 0 && barrierSeconds < kernelSeconds && javascriptSeconds > 0);
    const shares = phase.kernels.map(({ share }: { share: number }) => share);
    assert.ok(Math.abs(shares.reduce((a: number, b: number) => a + b, 0) - 1) < 1e-9);
    assert.deepEqual(
      shares,
      [...shares].sort((a, b) => b - a),
    );
    for (const { kernel, how, calls, threadSeconds } of phase.kernels) {
      assert.equal(how, device === 'cpu' ? 'machine code' : 'interpreted', kernel);
      assert.ok(calls > 0 && threadSeconds.length >= 1, kernel);
    }
    if (device !== 'cpu') continue;
    const lost = phase.gaps.map((gap: { lost: number }) => gap.lost);
    assert.ok(lost.length <= 3 && lost.every((each: number, i: number) => each > 0 && each <= (lost[i - 1] ?? each)));
    for (const { tokensPerSecond } of phase.gaps) assert.ok(tokensPerSecond > phase.tokens / seconds);
    const product = phase.kernels.find(({ kernel }: { kernel: string }) => /^quantized_dot_q8_0.*\[T\]$/.test(kernel));
    assert.ok(
      product.roofline > 0 && product.cost.bytes > 0 && product.cost.operations > 0 && product.cost.element === 'i8',
    );
  }
});

test('profile prints a table for each phase', async () => {
  const { out } = await ingot(['profile', '-p', '0', '-n', '2']);
  assert.match(out, /^tg2: [\d.]+ tokens\/s on \w+, .*2 runs in/);
  assert.match(out, /\nkernels .*at barriers .*starting and ending runs .*JavaScript between runs/);
  assert.match(out, /\nkernel +calls +time +share +GB\/s +GFLOP\/s +roofline +barrier +spread +run as\n/);
  if (device === 'cpu')
    assert.match(
      out,
      /\n\d+ kernels in machine code, 0 interpreted\nAbove|\nLargest gaps to the roofline.*\n1\. .* more than (memory|arithmetic) needs: [\d.]+ tokens\/s/,
    );
  const several = await ingot(['profile', '-p', '0', '-n', '4', '-b', '3', '--json']);
  const [phase] = JSON.parse(several.out);
  assert.deepEqual([phase.test, phase.tokens], ['tg4@b3', 3 * phase.runs]);
  const interpreted = (await ingot(['profile', '-p', '2', '-n', '0', '--device', 'reference'])).out;
  assert.match(interpreted, /\n0 kernels in machine code, \d+ interpreted\n/);
});

test('profile --trace writes what each thread did when, and keeps keys and values as --kv says', {
  skip: noCpu ?? false,
}, async () => {
  const path = join(folder, 'trace.json');
  const { code, err } = await ingot(['profile', '-p', '16', '-n', '3', '-t', '2', '--kv', 'int8', '--trace', path]);
  assert.equal(code, 0, err);
  const { traceEvents, otherData } = JSON.parse(readFileSync(path, 'utf8'));
  assert.match(otherData.model, /bundled/);
  type Slice = { name: string; cat: string; ph: string; pid: number; tid: number; ts: number; dur: number };
  const slices: Slice[] = traceEvents.filter(({ ph }: Slice) => ph === 'X');
  for (const { ts, dur, pid, tid } of slices) assert.ok(ts >= 0 && dur >= 0 && pid === 1 && Number.isInteger(tid));
  const runs = slices.filter(({ cat }) => cat === 'run');
  assert.deepEqual(runs.map(({ name }) => name).slice(0, 2), ['pp16, run 1 of 1', 'tg3, run 1 of 3']);
  const kernels = slices.filter(({ cat }) => cat === 'kernel');
  assert.ok(
    kernels.some(({ name }) => name.startsWith('quantized_dot')) && new Set(kernels.map(({ tid }) => tid)).size === 2,
  );
  // Kernels of a thread come one after another, within runs but for the error of the clock.
  for (const tid of [1, 2]) {
    const own = slices.filter((slice) => slice.tid === tid).sort((a, b) => a.ts - b.ts || a.dur - b.dur);
    for (const [i, { ts }] of own.entries()) assert.ok(i === 0 || ts > own[i - 1].ts + own[i - 1].dur - 50);
    for (const { ts, dur } of own)
      assert.ok(runs.some((run) => ts > run.ts - 2000 && ts + dur < run.ts + run.dur + 2000));
  }
  const refused = await ingot(['profile', '-p', '2', '-n', '0', '--device', 'reference', '--trace', path]);
  assert.match(refused.err, /keeps no times/);
});

test('profile --asm prints the code of a kernel and the loops behind it', { skip: noCpu ?? false }, async () => {
  const { code, out, err } = await ingot(['profile', '--asm', 'multiply_cosine_sine']);
  assert.equal(code, 0, err);
  assert.match(out, /^multiply_cosine_sine \[.*\]: \d+ bytes/);
  assert.match(out, /\nkernel multiply_cosine_sine \(T\)\n {2}\w+ out0: f32\[\d+\]\n/);
  assert.match(out, /\n +0 {2}[0-9a-f]{2}.* push r/);
  assert.match(
    (await ingot(['profile', '--asm', 'quantized_dot_q8_0_i8_768+768x256'])).out,
    /\nWritten by hand, with these loops in it:\n\nkernel logistic_multiply \(T\)\n.*vpmaddubsw/s,
  );
  assert.match(
    (await ingot(['profile', '--asm', 'paged_attention'])).out,
    /\nWritten by hand: no loops lie behind it\./,
  );
});

test('--dump writes the program before the first pass and after each', async () => {
  const { code, err } = await ingot(['run', 'Hello', '-n', '1', '--dump', 'dumped']);
  assert.equal(code, 0, err);
  const names = readdirSync(join(folder, 'dumped'));
  assert.ok(names.length >= 2, names.join());
});

mkdirSync(join(folder, 'empty'));
mkdirSync(join(folder, 'downloaded'));
file('downloaded/config.json', '{}');
const mistakes: readonly { what: string; args: string[]; code: number; says: RegExp }[] = [
  {
    what: 'an unknown flag',
    args: ['run', '--temprature', '1', 'x'],
    code: 2,
    says: /unknown option.*\n.*--temperature/s,
  },
  { what: 'an unknown command', args: ['rnu'], code: 2, says: /unknown command/ },
  { what: 'a wrong number', args: ['run', '--top-p', '2', 'x'], code: 2, says: /from 0 to 1/ },
  { what: 'too many words', args: ['run', 'a', 'b', 'c'], code: 2, says: /too many arguments/ },
  {
    what: 'an unknown device',
    args: ['run', 'x', '--device', 'gpu'],
    code: 2,
    says: /no device "gpu".*\n.*reference/s,
  },
  { what: 'a profile of nothing', args: ['profile', '-p', '0', '-n', '0'], code: 2, says: /nothing to measure/ },
  { what: 'a profile beyond the context', args: ['profile', '-p', '100000'], code: 1, says: /ContextOverflow/ },
  {
    what: 'code of the interpreter',
    args: ['profile', '--asm', 'add', '--device', 'reference'],
    code: 2,
    says: /no machine code/,
  },
  ...(noCpu === undefined
    ? [
        {
          what: 'a kernel that there is not',
          args: ['profile', '--asm', 'nonsense'],
          code: 2,
          says: /no kernel "nonsense".*quantized_dot_q8_0/s,
        },
        {
          what: 'a name of several kernels',
          args: ['profile', '--asm', 'quantized_dot'],
          code: 2,
          says: /part of \d+ names.*\n {2}quantized_dot_q8_0_i8_256x256/s,
        },
      ]
    : []),
  { what: 'a model without a prompt', args: ['run', bundled], code: 2, says: /a prompt is missing/ },
  { what: 'a folder without a prompt', args: ['run', 'downloaded'], code: 2, says: /a prompt is missing.*ingot chat/s },
  {
    what: 'a name of a hub',
    args: ['run', 'Org/Repo-0.6B', 'x'],
    code: 1,
    says: /does not exist\n.*hf:Org\/Repo-0\.6B/,
  },
  {
    what: 'a model beyond --memory',
    args: ['serve', '--port', '0', '--memory', '1MB'],
    code: 2,
    says: /tales needs [\d.]+ MiB.*more than --memory allows/,
  },
  { what: 'a missing file', args: ['run', 'gone.gguf', 'x'], code: 1, says: /FileNotFound.*gone\.gguf/ },
  { what: 'an empty folder', args: ['run', 'empty', 'x'], code: 1, says: /is empty/ },
  {
    what: 'a file of no model',
    args: ['run', file('note.txt', 'hello, world'), 'x'],
    code: 1,
    says: /UnsupportedFile/,
  },
  { what: 'an empty file', args: ['inspect', file('zero.gguf', '')], code: 1, says: /empty file/ },
  {
    what: 'a file cut short',
    args: ['run', file('cut.gguf', Uint8Array.of(0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0, 9)), 'x'],
    code: 1,
    says: /InvalidFile/,
  },
  { what: 'a prompt beyond the context', args: ['run', 'word '.repeat(900)], code: 1, says: /ContextOverflow/ },
  { what: 'a test beyond the context', args: ['bench', '-p', '100000'], code: 1, says: /ContextOverflow/ },
];
for (const { what, args, code, says } of mistakes) {
  test(`${what} is told in a few lines without a stack`, async () => {
    const ended = await ingot(args);
    assert.equal(ended.code, code, ended.err);
    assert.match(ended.err, says);
    assert.doesNotMatch(ended.err, /\n\s+at /);
    assert.equal(ended.out, '');
  });
}

test('--debug shows where an error came from', async () => {
  const { err } = await ingot(['--debug', 'run', 'gone.gguf', 'x']);
  assert.match(err, /\n\s+at /);
});

test('Ctrl-C ends the text, the figures still come, and the exit code says so', {
  skip: process.platform === 'win32',
}, async () => {
  const args = ['run', '-n', '400', '--seed', '1', '--device', 'reference'];
  const { code, out, err } = await ingot(args, (child) => child.kill('SIGINT'));
  assert.equal(code, 130, err);
  assert.ok(out.length > 0 && out.length < 1500, `${out.length} characters`);
  assert.match(err, /TTFT|no token/);
});

test('Ctrl-C twice leaves at once, whatever the engine does', { skip: process.platform === 'win32' }, async () => {
  // One step of the interpreter that takes longer than anybody waits; it begins when the last program was written.
  const prompt = 'Once upon a time there was a fox. '.repeat(40);
  const programs = join(folder, 'interrupted');
  const { code, out, err } = await ingot(
    ['run', prompt, '--device', 'reference', '--dump', programs],
    undefined,
    async (child) => {
      while (child.exitCode === null && !(existsSync(programs) && readdirSync(programs).length > 0)) await sleep(20);
      child.kill('SIGINT');
      await sleep(100);
      child.kill('SIGINT');
    },
  );
  assert.equal(code, 130, err);
  assert.equal(out, '');
});

test('Ctrl-C ends ingot tune: nothing was found, or all that was found is remembered', {
  skip: noCpu ?? (process.platform !== 'linux' && 'skipped, because memory is looked at in /proc'),
}, async () => {
  /** What is timed takes more memory than anything before it. */
  const hasBegun = ({ pid }: Child) =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) > 300 * 1024;
  const { code, out, err } = await ingot(['tune', '--json'], undefined, async (child) => {
    while (child.exitCode === null && !hasBegun(child)) await sleep(20);
    child.kill('SIGINT');
  });
  const remembered = existsSync(join(folder, 'cache', 'ingot', 'tunings.json'));
  if (code === 0) assert.ok(remembered && JSON.parse(out).gains.length > 0, err);
  else assert.deepEqual([code, remembered, out], [130, false, ''], err);
  assert.doesNotMatch(err, /\n\s+at /);
});

test('a reader that stops listening ends the work quietly', async () => {
  const args = ['run', '-n', '400', '--device', 'reference'];
  const { code, err } = await ingot(args, (child) => child.stdout?.destroy());
  assert.equal(code, 0, err);
  assert.equal(err, '');
});

test('help names every command and option', async () => {
  const { out } = await ingot(['--help']);
  for (const command of [
    'run',
    'chat',
    'bench',
    'eval',
    'profile',
    'inspect',
    'convert',
    'quantize',
    'doctor',
    'serve',
    'tokenize',
    'embed',
    'pull',
    'list',
    'rm',
  ])
    assert.match(out, new RegExp(`\\n  ${command} `));
  const run = (await ingot(['run', '--help'])).out;
  for (const option of 'temperature top-k top-p min-p seed stop device threads'.split(' ')) {
    assert.match(run, new RegExp(`--${option} `));
  }
});

test('kernels that failed their self-test are named and not used', { skip: noCpu }, async () => {
  await ingot(['run', '-n', '1']);
  const path = join(folder, 'cache', 'ingot', 'self-test.json');
  const kept = readFileSync(path, 'utf8');
  const verdicts = [{ set: 'avx2', passed: false, kernel: 'rope', problem: 'SIGILL ended it' }];
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(kept) as object), verdicts }));
  const { code, out, err } = await ingot(['run', '-n', '2', '--seed', '1']);
  assert.equal(code, 0, err);
  assert.match(out, /^Once upon a time/);
  assert.match(err, /failed its self-test at rope: SIGILL ended it\); the reference device is, slowly\n/);
  const named = await ingot(['run', '-n', '2', '--device', 'cpu']);
  assert.equal(named.code, 1);
  assert.match(named.err, /at rope.*\n.*--device reference/);
  const doctor = await ingot(['doctor']);
  assert.match(doctor.out, /^Self-test {2}code for \w+ passed its self-test$/m, 'the doctor tries again');
  assert.equal(JSON.parse(readFileSync(path, 'utf8')).verdicts[0].passed, true);
});

test('where no machine code is made one line says so, and the reference device computes', async () => {
  const preload = "data:text/javascript,Object.defineProperty(process,'arch',{value:'riscv64'})";
  const elsewhere = { ...env, NODE_OPTIONS: `--import=${preload}` };
  const said = /^ingot: the cpu device cannot be used \(.*riscv64.*\); the reference device is, slowly$/gm;
  for (const more of [[], ['--mesh', 'tensor=2']]) {
    const { code, out, err } = await ingot(['run', '-n', '1', '--seed', '1', ...more], undefined, undefined, elsewhere);
    assert.equal(code, 0, err);
    assert.match(out, /^Once upon a time/);
    assert.equal(err.match(said)?.length, 1, err);
  }
});

test('memory is locked, or the way to allow it is shown', { skip: noCpu }, async () => {
  const { code, err } = await ingot(['run', '-n', '1', '--mlock']);
  if (code !== 0) assert.match(err, /ulimit -l/);
  const refused = await ingot(['run', '-n', '1', '--mlock', '--device', 'reference']);
  assert.equal(refused.code, 2);
});
