/**
 * Packed weights that are kept in a folder: the second start reads no weight and has the same logits; whatever is wrong with the file or the
 * folder, the weights are those of the model.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isIngotError } from '../../src/base/errors.ts';
import { predictMemory } from '../../src/cli/memory.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { type OpenedWeights, openWeights } from '../../src/engine/open-model-node.ts';
import { type OpenOptions, openEngine } from '../../src/engine/open-node.ts';
import type { Weights } from '../../src/engine/pack-weights.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import { cachedWeights, keptWeights } from '../../src/engine/weight-cache-node.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { noCpu, openCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { quantizedFolders } from '../unit/quantized-formats.ts';
import { generateWith } from './engine-suite.ts';
import { modelFolder } from './golden.ts';
import { withReads } from './weight-cache-reads.ts';

const skip = noCpu ?? (process.platform !== 'linux' && 'files are mapped on Linux only');
const root = mkdtempSync(join(tmpdir(), 'ingot-weight-cache-'));
after(() => rmSync(root, { recursive: true, force: true }));

const limits: StepLimits = {
  ...{ maxTokens: 12, maxSequences: 1, maxRows: 12, blockSize: 16, blockCount: 1, blocksPerSequence: 1, maxBias: 1 },
};
const ids = [1, 17, 42, 3, 60, 9];

async function logits(device: Device, source: OpenedWeights, weights?: Weights): Promise<Float32Array> {
  const given = weights === undefined ? {} : { weights: Promise.resolve(weights) };
  await using runner = await Runner.load(device, source.model, { limits, kv: 'f32', ...given });
  const blocks = new BlockManager(limits);
  const sequence: CachedSequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  blocks.grow(sequence.blocks, ids.length);
  return await runner.score({ sequence, start: 0, count: ids.length, samples: false });
}

let made = 0;
/** A path at which nothing is. */
const fresh = (name: string) => join(root, `${name}-${made++}`);

/** What is said, and how much of weights is read, in a start with this folder. The logits are always the model's. */
async function start(t: TestContext, path: string, folder: string, device = openCpu()) {
  const errors = t.mock.method(console, 'error', () => {});
  await using _ = device;
  await using source = await openWeights(path);
  let read = 0;
  const weights = await cachedWeights(
    folder,
    withReads(source, async (bytes) => {
      read += bytes;
    }),
    device,
  );
  const said = errors.mock.calls.map(({ arguments: [text] }) => String(text));
  errors.mock.restore();
  assert.deepEqual(await logits(device, source, weights), await logits(device, source));
  for (const buffer of weights?.values() ?? []) buffer[Symbol.dispose]();
  return { read, said, kept: weights !== undefined };
}

const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');

/** A copy whose files may be changed. */
function copyOf(path: string): string {
  const copy = `${fresh('model')}${path.endsWith('.gguf') ? '.gguf' : ''}`;
  cpSync(path, copy, { recursive: true });
  return copy;
}

const models: Readonly<Record<string, string>> = {
  'a GGUF file': bundled,
  'a folder of safetensors': modelFolder('llama'),
  'a folder with transposed weights': modelFolder('gpt2'),
  'a folder of experts': modelFolder('qwen3-moe'),
  'a folder of AWQ': join(quantizedFolders, 'awq'),
};

for (const [what, path] of Object.entries(models)) {
  test(`${what} is read once`, { skip }, async (t) => {
    const folder = fresh('cache');
    const first = await start(t, path, folder);
    assert.ok(first.read > 0);
    for (let i = 0; i < 2; i++) assert.deepEqual(await start(t, path, folder), { read: 0, said: [], kept: true });
    assert.deepEqual([first.said.length, first.kept, readdirSync(folder).length], [1, true, 1]);
    assert.match(first.said[0], /packed weights are kept in .*\.packed/);
  });
}

/** A folder with the packed weights of the bundled model, and their file. */
async function packed(t: TestContext, path = bundled) {
  const folder = fresh('cache');
  await start(t, path, folder);
  const [name] = readdirSync(folder);
  return { folder, file: join(folder, name) };
}

/** The next start packs again and says why, and the one after it does not. */
async function madeAgain(t: TestContext, why: RegExp, path: string, folder: string) {
  const again = await start(t, path, folder);
  assert.ok(again.read > 0 && again.kept);
  assert.equal(again.said.length, 2);
  assert.match(again.said[0], why);
  assert.deepEqual(await start(t, path, folder), { read: 0, said: [], kept: true });
  assert.equal(readdirSync(folder).length, 1);
}

test('what lies in a folder is told, with why it is not used', { skip }, async (t) => {
  const path = copyOf(bundled);
  const { folder, file } = await packed(t, path);
  const told = async () => {
    const [kept, ...others] = await keptWeights(folder);
    assert.deepEqual([others.length, kept.path, kept.bytes], [0, file, statSync(file).size]);
    return [kept.model, kept.stale];
  };
  const [bytes, real] = [readFileSync(file), realpathSync(path)];
  assert.deepEqual(await told(), [real, null]);
  await using checkpoint = await openCheckpoint(path);
  const { packedFileBytes = 0 } = await predictMemory(checkpoint, openModel(checkpoint), 'f32');
  const contents = bytes.length - packedFileBytes;
  assert.ok(contents > 0 && contents < 1 << 16, `${contents}`);
  utimesSync(path, 1e9, 1e9);
  assert.deepEqual(await told(), [real, 'the model has changed']);
  rmSync(path);
  assert.deepEqual(await told(), [real, `${real} does not exist`]);
  writeFileSync(file, bytes.subarray(1));
  assert.deepEqual(await told(), [null, 'it is damaged']);
  await assert.rejects(keptWeights(join(folder, 'none')), (error) => isIngotError(error, 'FileNotFound'));
});

test('a model that was written since is packed again', { skip }, async (t) => {
  const path = copyOf(bundled);
  const { folder } = await packed(t, path);
  utimesSync(path, 1e9, 1e9);
  await madeAgain(t, /made again: the model has changed/, path, folder);
  // Another of the same size and time.
  const bytes = readFileSync(path);
  for (let at = bytes.length >> 1; at < bytes.length; at++) bytes[at] ^= 1;
  writeFileSync(path, bytes);
  utimesSync(path, 1e9, 1e9);
  await madeAgain(t, /made again: the model has changed/, path, folder);
});

test('settings of a folder that are others are another model', { skip }, async (t) => {
  const path = copyOf(modelFolder('llama'));
  const { folder } = await packed(t, path);
  const config = join(path, 'config.json');
  writeFileSync(config, `${readFileSync(config, 'utf8')}\n`);
  await madeAgain(t, /made again: the model has changed/, path, folder);
});

test('what is cut off or altered is packed again, wherever that is', { skip }, async (t) => {
  const { folder, file } = await packed(t);
  const whole = readFileSync(file);
  const damages: readonly (readonly [string, (bytes: Buffer) => Uint8Array])[] = [
    ['empty', () => Buffer.alloc(0)],
    ['short', (bytes) => bytes.subarray(0, 1 << 20)],
    ['without its last byte', (bytes) => bytes.subarray(0, -1)],
    ...[0, 1_234_567, whole.length - 1000, whole.length - 60, whole.length - 12, whole.length - 1].map(
      (at) =>
        [`bit at ${at}`, (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === at ? byte ^ 4 : byte)))] as const,
    ),
    ['a page of zeros', (bytes) => Buffer.from(bytes).fill(0, 8192, 12_288)],
    ['shifted', (bytes) => bytes.subarray(4096)],
  ];
  for (const [what, damage] of damages) {
    writeFileSync(file, damage(whole));
    await t.test(what, (t) => madeAgain(t, /made again: it is damaged/, bundled, folder));
    assert.deepEqual(readFileSync(file), whole);
  }
});

/** The same file with something else said of where it comes from. */
function retold(file: string, tell: (contents: { origin: { ingot: string } }) => void): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(bytes.length - 16));
  const contents = JSON.parse(bytes.toString('utf8', bytes.length - 48 - length, bytes.length - 48));
  tell(contents);
  const json = Buffer.from(JSON.stringify(contents));
  const tail = Buffer.from(bytes.subarray(-16));
  tail.writeBigUInt64LE(BigInt(json.length));
  const sum = createHash('sha256').update(json).digest();
  writeFileSync(file, Buffer.concat([bytes.subarray(0, -48 - length), json, sum, tail]));
}

test('what another version has made is packed again', { skip }, async (t) => {
  const { folder, file } = await packed(t);
  retold(file, ({ origin }) => {
    origin.ingot = '0.0.1';
  });
  await madeAgain(t, /made again: another version of Ingot has made it/, bundled, folder);
});

test('a folder that cannot be used, or that others can write, keeps nothing, in a word', { skip }, async (t) => {
  const file = fresh('file');
  writeFileSync(file, '');
  const open = fresh('open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  for (const [folder, why] of [
    [join(file, 'below'), /no packed weights are kept: .*below/],
    [open, /no packed weights are kept: others than its user can change/],
  ] as const) {
    const { said, kept, read } = await start(t, bundled, folder);
    assert.deepEqual([kept, read, said.length], [false, 0, 1]);
    assert.match(said[0], why);
  }
  assert.deepEqual(readdirSync(open), []);
});

test('a device without files says so', { skip }, async (t) => {
  const { said, kept } = await start(t, modelFolder('llama'), fresh('cache'), createReferenceDevice());
  assert.equal(kept, false);
  assert.match(said.join(), /only the cpu device on Linux/);
});

test('two at once: one packs, the other waits and has the same', { skip }, async (t) => {
  const folder = fresh('cache');
  t.mock.method(console, 'error', () => {});
  await using source = await openWeights(bundled);
  const reads = [0, 0];
  const all = await Promise.all(
    reads.map(async (_, i) => {
      const device = openCpu(1);
      const weights = await cachedWeights(
        folder,
        withReads(source, async (bytes) => {
          reads[i] += bytes;
        }),
        device,
      );
      return { device, weights };
    }),
  );
  assert.equal(reads.filter((read) => read > 0).length, 1);
  const [one, other] = await Promise.all(all.map(({ device, weights }) => logits(device, source, weights)));
  assert.deepEqual(one, other);
  for (const { device } of all) await device[Symbol.asyncDispose]();
  assert.equal(readdirSync(folder).length, 1);
});

test('engines that share requests map one file', { skip }, async () => {
  const folder = fresh('cache');
  const requests = ['The fox', 'Tom'].map((prompt) => ({ prompt, maxTokens: 8, ignoreEnd: true }));
  const answers = async (options: OpenOptions) => {
    await using engine = await openEngine(bundled, { sequences: 2, ...options });
    const { weights } = (await engine.status()).memory;
    return {
      weights,
      ids: await Promise.all(requests.map(async (request) => (await generateWith(engine, request)).ids)),
    };
  };
  const expected = await answers({});
  for (let i = 0; i < 2; i++) {
    const { weights, ids } = await answers({ mesh: 'data=2', weightCache: folder });
    assert.deepEqual(ids, expected.ids);
    assert.ok(weights < 1.1 * expected.weights, `${weights} and ${expected.weights} bytes`);
    assert.equal(readdirSync(folder).length, 1);
  }
});

test('who gives up leaves nothing', { skip }, async () => {
  const folder = fresh('cache');
  const end = new AbortController();
  await using device = openCpu();
  await using source = await openWeights(bundled);
  const slow = withReads(source, async () => end.abort());
  await assert.rejects(cachedWeights(folder, slow, device, { signal: end.signal }), (error) =>
    isIngotError(error, 'Aborted'),
  );
  assert.deepEqual(readdirSync(folder), []);
  assert.equal(device.memory().weights.now, 0);
});

test('what a killed process has left goes with the next start', { skip }, async (t) => {
  const folder = fresh('cache');
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('weight-cache-child.js', import.meta.url)), bundled, folder],
    { stdio: 'inherit' },
  );
  const ended = once(child, 'exit');
  const names = () => {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  };
  while (!names().some((name) => name.endsWith('.partial')) && child.exitCode === null) await sleep(20);
  child.kill('SIGKILL');
  await ended;
  assert.equal(names().length, 2);
  const { read, kept, said } = await start(t, bundled, folder);
  assert.deepEqual([read > 0, kept, said.length, names().length], [true, true, 1, 1]);
});
