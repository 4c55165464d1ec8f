/** `ingot quantize` as a person meets it: real processes on small models, what they print and leave behind, and what they refuse. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Command } from 'commander';
import { randomModel } from '../../bench/random-model.ts';
import { addQuantize } from '../../src/cli/quantize.ts';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { recode } from '../../src/formats/recode.ts';
import { openModel } from '../../src/models/architectures.ts';
import { dataPath, repositoryPath, skipWithoutData } from '../fixtures.ts';
import { bytesOf } from '../unit/formats-support.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ingot-quantize-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const source = join(folder, 'tiny.gguf');
before(async () => {
  const layout = layoutGguf(randomModel('tiny', 'f16', 1));
  await using file = await createFile(source, { length: layout.length });
  await layout.writeTo(file);
  await file.commit();
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function quantize(args: readonly string[], onStart?: (child: ReturnType<typeof spawn>) => void): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, 'quantize', ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    onStart?.(child);
  });
}

async function formatsOf(path: string): Promise<ReadonlyMap<string, string>> {
  await using checkpoint = await openCheckpoint(path);
  openModel(checkpoint);
  return new Map([...checkpoint.tensors].map(([name, { format }]) => [name, format]));
}

test('a mixture, an override, and what was written as JSON', async () => {
  const args = [source, 'mixed.gguf', '--type', 'q4_k_m', '--tensor', 'blk\\.0\\.attn_q=Q8_0', '--json'];
  const { code, out, err } = await quantize(args);
  assert.equal(code, 0, err);
  const { type, bytes, formats } = JSON.parse(out);
  assert.equal(type, 'q4_K_M');
  assert.ok(bytes > 0 && formats.q4_K.tensors > 0 && formats.q8_0.tensors === 1);
  const stored = await formatsOf(join(folder, 'mixed.gguf'));
  assert.equal(stored.get('blk.0.attn_q.weight'), 'q8_0');
  assert.equal(stored.get('blk.1.attn_q.weight'), 'q4_K');
  assert.equal(stored.get('token_embd.weight'), 'q6_K');
  assert.equal(stored.get('output_norm.weight'), 'f32');
});

test('one line says what there is, and the number of threads changes no byte', async () => {
  const one = await quantize([source, 'one.gguf', '--type', 'iq4_xs', '-t', '1']);
  assert.match(one.err, /^one\.gguf: \d+ KiB; .*\d+ tensors iq4_xs/);
  assert.equal(one.out, '');
  await quantize([source, 'three.gguf', '--type', 'iq4_xs', '-t', '3']);
  const bytes = async (name: string) => {
    await using checkpoint = await openCheckpoint(join(folder, name));
    const tensors = [...checkpoint.tensors.values()];
    return Promise.all(tensors.map(({ bytes }) => bytes.read(0, bytes.length)));
  };
  assert.deepEqual(await bytes('one.gguf'), await bytes('three.gguf'));
});

test('an importance matrix says which columns matter: the bytes are those of the encoder with it', async () => {
  const name = 'blk.0.attn_q.weight';
  await using given = await openCheckpoint(source);
  const stored = given.tensors.get(name);
  assert.ok(stored);
  const columns = stored.shape[1] ?? 0;
  const importance = Float32Array.from({ length: columns }, (_, i) => (i % 7 === 0 ? 100 : 0.01));
  const f32 = (entry: string, shape: readonly number[], values: Float32Array) => ({
    ...{ name: entry, format: 'f32', shape },
    chunks: () => [new Uint8Array(values.buffer)],
  });
  const matrix = layoutGguf({
    metadata: new Map([['general.type', 'imatrix']]),
    tensors: [f32(`${name}.in_sum2`, [1, columns], importance), f32(`${name}.counts`, [1, 1], Float32Array.of(1))],
  });
  writeFileSync(join(folder, 'columns.imatrix'), await bytesOf(matrix));
  const type = ['--type', 'q4_0'];
  assert.equal((await quantize([source, 'without.gguf', ...type])).code, 0);
  const ended = await quantize([source, 'with.gguf', ...type, '--imatrix', 'columns.imatrix']);
  assert.equal(ended.code, 0, ended.err);
  const read = async (path: string) => {
    await using checkpoint = await openCheckpoint(path);
    const { bytes, format } = checkpoint.tensors.get(name) ?? assert.fail(path);
    assert.equal(format, path === source ? 'f16' : 'q4_0');
    return await bytes.read(0, bytes.length);
  };
  const [plain, weighted] = [await read(join(folder, 'without.gguf')), await read(join(folder, 'with.gguf'))];
  assert.notDeepEqual(weighted, plain);
  assert.deepEqual(weighted, recode({ bytes: await read(source), from: 'f16', to: 'q4_0', importance }));
});

test('what is quantized already is quantized again only on request', async () => {
  assert.equal((await quantize([source, 'eight.gguf', '--type', 'q8_0'])).code, 0);
  const refused = await quantize(['eight.gguf', 'again.gguf', '--type', 'q4_0']);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /quantized already, in q8_0.*tensor.*\n.*--requantize/s);
  assert.equal(existsSync(join(folder, 'again.gguf')), false);
  assert.equal((await quantize(['eight.gguf', 'again.gguf', '--type', 'q4_0', '--requantize'])).code, 0);
});

const mistakes: readonly { what: string; args: readonly string[]; code: number; says: RegExp }[] = [
  { what: 'no type', args: ['x.gguf'], code: 2, says: /--type/ },
  { what: 'an unknown type', args: ['x.gguf', '--type', 'q9_0'], code: 2, says: /q4_K_M, q4_K_S/ },
  { what: 'a type without an encoder', args: ['x.gguf', '--type', 'iq2_xs'], code: 2, says: /no encoder for it/ },
  {
    what: 'an override of nothing',
    args: ['x.gguf', '--type', 'q8_0', '--tensor', 'expert=q4_0'],
    code: 2,
    says: /matches expert/,
  },
  {
    what: 'half an override',
    args: ['x.gguf', '--type', 'q8_0', '--tensor', 'ffn_up'],
    code: 2,
    says: /ffn_down=q6_K/,
  },
  {
    what: 'an override to no format',
    args: ['x.gguf', '--type', 'q8_0', '--tensor', 'ffn_up=q4_K_M'],
    code: 2,
    says: /no format of a tensor/,
  },
  {
    what: 'a pattern that is none',
    args: ['x.gguf', '--type', 'q8_0', '--tensor', 'ffn(=q4_0'],
    code: 2,
    says: /no regular expression/,
  },
  { what: 'the file itself', args: ['tiny.gguf', '--type', 'q8_0', '--force'], code: 2, says: /what would be read/ },
  {
    what: 'a missing importance matrix',
    args: ['x.gguf', '--type', 'q4_0', '--imatrix', 'no'],
    code: 1,
    says: /FileNotFound/,
  },
  {
    what: 'a model as an importance matrix',
    args: ['x.gguf', '--type', 'q4_0', '--imatrix', 'tiny.gguf'],
    code: 1,
    says: /no importance matrix/,
  },
  { what: 'a folder that there is not', args: ['no/x.gguf', '--type', 'q8_0'], code: 1, says: /no folder/ },
];
for (const { what, args, code, says } of mistakes) {
  test(`${what} is told in a few lines, and nothing is left`, async () => {
    const ended = await quantize([source, ...args]);
    assert.equal(ended.code, code, ended.err);
    assert.match(ended.err, says);
    assert.doesNotMatch(ended.err, /\n\s+at /);
    assert.deepEqual(
      readdirSync(folder).filter((name) => /^x|partial/.test(name)),
      [],
    );
  });
}

test('rows that are not whole blocks of what was asked for are refused by name', {
  skip: skipWithoutData,
}, async () => {
  const model = dataPath('models', 'stories260K', 'stories260K.bin');
  const tokenizer = dataPath('models', 'stories260K', 'tok512.bin');
  const args = [model, 'rows.gguf', '--tokenizer', tokenizer, '--type', 'q8_0'];
  const refused = await quantize([...args, '--tensor', 'ffn_down=q4_0']);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /rows of 172 values are not whole blocks of 32.*ffn_down|w2/s);
  assert.equal((await quantize(args)).code, 0);
  assert.equal((await formatsOf(join(folder, 'rows.gguf'))).get('blk.0.ffn_down.weight'), 'f16');
});

test('a file of the name stays as it is without --force', async () => {
  writeFileSync(join(folder, 'there.gguf'), 'mine');
  const { code, err } = await quantize([source, 'there.gguf', '--type', 'q8_0']);
  assert.equal(code, 1);
  assert.match(err, /FileExists.*\n.*--force/s);
  assert.equal((await quantize([source, 'there.gguf', '--type', 'q8_0', '--force'])).code, 0);
});

/** A signal once the file is being written; what lies there afterwards. */
async function stopped(name: string, signal: NodeJS.Signals): Promise<Ended & { readonly left: readonly string[] }> {
  // The slowest of all searches, so that there is something to interrupt.
  const ended = await quantize([source, name, '--type', 'iq4_xs', '-t', '1'], (child) => {
    const watch = setInterval(() => {
      if (!readdirSync(folder).some((entry) => entry.startsWith(`.${name}`))) return;
      clearInterval(watch);
      child.kill(signal);
    }, 5);
    child.on('close', () => clearInterval(watch));
  });
  return { ...ended, left: readdirSync(folder).filter((entry) => entry.includes(name)) };
}

test('Ctrl-C leaves nothing', { skip: process.platform === 'win32' }, async () => {
  const { code, err, left } = await stopped('late.gguf', 'SIGINT');
  assert.equal(code, 130, err);
  assert.deepEqual(left, []);
});

test('a kill leaves no file of the name', {
  skip: process.platform === 'win32',
}, async () => {
  const { code, left } = await stopped('killed.gguf', 'SIGKILL');
  assert.equal(code, null);
  assert.match(left.join(), /^\.killed\.gguf\.\w+\.partial$/);
  for (const name of left) rmSync(join(folder, name));
});

test('a bar says how far it is, at a terminal and where it takes more than a second', async (t) => {
  await import('cli-progress');
  const isTerminal = Object.getOwnPropertyDescriptor(process.stderr, 'isTTY');
  t.after(() => Object.defineProperty(process.stderr, 'isTTY', isTerminal ?? { value: undefined, configurable: true }));
  t.mock.method(console, 'error', () => {});
  const run = async (name: string, value: boolean, milliseconds: number): Promise<string> => {
    Object.defineProperty(process.stderr, 'isTTY', { value, configurable: true });
    let [now, shown] = [0, ''];
    const clock = t.mock.method(performance, 'now', () => {
      now += milliseconds;
      return now;
    });
    const write = t.mock.method(process.stderr, 'write', (text: string | Uint8Array) => {
      shown += String(text);
      return true;
    });
    const program = new Command();
    addQuantize(program);
    await program.parseAsync(['quantize', source, join(folder, name), '--type', 'q8_0'], { from: 'user' });
    clock.mock.restore();
    write.mock.restore();
    return shown;
  };
  assert.match(await run('bar.gguf', true, 400), /Quantizing .*\d+% of [\d.]+ [KM]iB/);
  assert.equal(await run('quick.gguf', true, 0.01), '');
  assert.equal(await run('pipe.gguf', false, 400), '');
});
