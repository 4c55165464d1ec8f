/** Models by their names on a hub, as people meet them: fetched, shared, used offline, listed, removed, healed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { CachedRepository } from '../../src/hub/cache.ts';
import { lock } from '../../src/hub/lock.ts';
import { fixtures, repositoryPath } from '../fixtures.ts';
import { blobs, folder, freshHub, isModel, MiB, model, modelHash, noise, pullFrom, repository } from './hub-harness.ts';
import { commitOf, sendRange, type TestHub } from './hub-server.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const bundled = readFileSync(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs `ingot ...` against a hub; `started` sees the process. */
function ingot(
  hub: TestHub,
  args: readonly string[],
  started?: (child: ChildProcess) => void,
  offline = '',
): Promise<Ended> {
  const env = {
    ...process.env,
    HF_ENDPOINT: hub.endpoint,
    HF_HUB_OFFLINE: offline,
    XDG_CACHE_HOME: join(folder, 'xdg'),
  };
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    started?.(child);
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

test('a pull fetches the usual file in pieces at once, and tells the token to the hub alone', async () => {
  await using hub = await freshHub();
  // None is answered before all are asked for.
  const held: (() => void)[] = [];
  hub.onContents = (request, response, contents) => {
    held.push(() => sendRange(contents, request, response));
    if (held.length === 3) for (const answer of held) answer();
    return true;
  };
  const progress: (readonly [number, number])[] = [];
  const onProgress = (done: number, total: number) => void progress.push([done, total]);
  const { path, bytes, fetchedBytes } = await pullFrom(hub, 'hf:org/repo', { onProgress });
  assert.ok(progress.every(([done, total], i) => total === model.length && done >= (progress[i - 1]?.[0] ?? 0)));
  assert.deepEqual(progress.at(-1), [model.length, model.length]);
  assert.ok(isModel(path));
  assert.deepEqual([bytes, fetchedBytes], [model.length, model.length]);
  assert.deepEqual(blobs(), [modelHash]);
  const pieces = hub.asked.filter(({ server }) => server === 'cdn');
  assert.deepEqual(pieces.map(({ range }) => range).sort(), [
    'bytes=0-8388607',
    'bytes=16777216-20971519',
    'bytes=8388608-16777215',
  ]);
  for (const { server, authorization } of hub.asked) {
    assert.equal(authorization, server === 'hub' ? 'Bearer hf_secret' : undefined);
  }
  assert.equal((await pullFrom(hub)).fetchedBytes, 0, 'all of it is there');
});

test('damage in the cache is found and mended', async () => {
  await using hub = await freshHub();
  const { path } = await pullFrom(hub);
  writeFileSync(path, noise(model.length, 9));
  assert.equal((await pullFrom(hub)).fetchedBytes, model.length);
  assert.ok(isModel(path));
  truncateSync(path, 5);
  assert.equal((await pullFrom(hub)).fetchedBytes, model.length);
  assert.ok(isModel(path));
});

test('a pull that was killed goes on', async () => {
  await using hub = await freshHub();
  // One piece comes; what is asked for after it is never answered.
  let answered = 0;
  hub.onContents = () => answered++ > 0;
  const journal = new CachedRepository('org/repo').blobPath(`${modelHash}.ingot-partial.pieces`);
  await ingot(hub, ['pull', 'hf:org/repo'], (child) => {
    const timer = setInterval(() => {
      if (!existsSync(journal) || !/\n\d\n$/.test(readFileSync(journal, 'utf8'))) return;
      child.kill('SIGKILL');
      clearInterval(timer);
    }, 20);
  });
  hub.onContents = () => false;
  const before = hub.asked.length;
  assert.ok(isModel((await pullFrom(hub)).path));
  assert.equal(hub.asked.slice(before).filter(({ server }) => server === 'cdn').length, 2);
});

test('a journal cut off in a line, or of another size, is believed as far as it goes', async () => {
  await using hub = await freshHub();
  const stop = new AbortController();
  hub.onContents = () => {
    stop.abort();
    return false;
  };
  await assert.rejects(pullFrom(hub, 'hf:org/repo', { signal: stop.signal }));
  hub.onContents = () => false;
  const journal = new CachedRepository('org/repo').blobPath(`${modelHash}.ingot-partial.pieces`);
  for (const text of [
    '20971520 8388608\n0\n1\n2',
    '7 8388608\n0\n1\n2\n',
    'nonsense',
    '20971520 8388608\n0\n1\n2\n3\n-1\nx\n',
  ]) {
    writeFileSync(journal, text);
    writeFileSync(journal.replace('.pieces', ''), new Uint8Array(model.length));
    assert.ok(isModel((await pullFrom(hub)).path), JSON.stringify(text));
    rmSync(journal.replace('.ingot-partial.pieces', ''));
  }
});

test('two pulls at once fetch everything once; the second says that it waits', async () => {
  await using hub = await freshHub();
  // Nothing comes before one of them waits for the other.
  let release: () => void = () => {};
  const waits = new Promise<void>((resolve) => {
    release = resolve;
  });
  hub.onContents = (request, response, contents) => {
    void waits.then(() => {
      const [, from, to] = /(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${contents.length}` });
      response.end(contents.subarray(Number(from), Number(to) + 1));
    });
    return true;
  };
  const pull = () => {
    return ingot(hub, ['pull', 'hf:org/repo'], (child) => {
      let heard = '';
      child.stderr?.on('data', (text: string) => {
        heard += text;
        if (heard.includes('by somebody else')) release();
      });
    });
  };
  const both = await Promise.all([pull(), pull()]);
  for (const { code, out, err } of both) {
    assert.equal(code, 0, err);
    assert.ok(isModel(out.trim()));
  }
  assert.equal(both.filter(({ err }) => /m-Q4_K_M\.gguf is being pulled by somebody else/.test(err)).length, 1);
  assert.equal(hub.asked.filter(({ server }) => server === 'cdn').length, 3);
});

test('a lock of a process that is gone, or of a machine that is silent, is taken over; one that is held is waited for', async () => {
  const path = join(folder, 'locks', 'a');
  const gone = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => gone.on('exit', resolve));
  {
    await using _ = await lock(path);
    writeFileSync(path, JSON.stringify({ host: hostname(), pid: gone.pid, id: 'x' }));
    await using _second = await lock(path);
    writeFileSync(path, JSON.stringify({ host: 'elsewhere', pid: 1, id: 'x' }));
    utimesSync(path, new Date(0), new Date(0));
    await using _third = await lock(path);
  }
  const held = await lock(path);
  let waited = false;
  const stop = new AbortController();
  const second = lock(path, {
    signal: stop.signal,
    onWait: () => {
      waited = true;
      stop.abort();
    },
  });
  await assert.rejects(second, (error) => isIngotError(error, 'Aborted'));
  assert.ok(waited);
  await held[Symbol.asyncDispose]();
  await using _ = await lock(path);
});

test('commands take names of the hub: fetched the first time, then without asking; bundles of parts and folders too', async () => {
  await using hub = await freshHub();
  hub.repositories.set('org/repo', {
    commit: commitOf('1'),
    files: { 'tales-Q8_0.gguf': bundled, 'x-F16.gguf': noise(99) },
  });
  const tell = ['run', 'hf:org/repo:Q8_0', 'The fox', '-n', '8', '--temperature', '0', '--json'];
  const first = await ingot(hub, tell);
  assert.equal(first.code, 0, first.err);
  const local = await ingot(hub, ['run', 'The fox', '-n', '8', '--temperature', '0', '--json']);
  assert.deepEqual(JSON.parse(first.out).ids, JSON.parse(local.out).ids);
  const asked = hub.asked.length;
  assert.equal((await ingot(hub, tell)).code, 0);
  assert.equal((await ingot(hub, ['inspect', 'hf:org/repo:tales-Q8_0.gguf', '--offline'])).code, 0);
  const text = join(folder, 'text.txt');
  writeFileSync(text, 'The fox ran. '.repeat(20));
  const small = join(folder, 'small.gguf');
  const name = 'hf:org/repo:Q8_0';
  for (const args of [
    ['tokenize', '--model', name],
    ['eval', name, '--text', text, '--context', '16', '--against', name],
    ['quantize', name, small, '--type', 'q4_0', '--requantize'],
  ]) {
    const { code, err } = await ingot(hub, [...args, '--offline']);
    assert.equal(code, 0, err);
  }
  assert.equal((await ingot(hub, ['inspect', name], undefined, '1')).code, 0);
  const absent = await ingot(hub, ['inspect', 'hf:org/repo:F16'], undefined, '1');
  assert.match(absent.err, /hf:org\/repo:F16 is not in the cache.*offline/);
  assert.equal(hub.asked.length, asked, 'nobody was asked');

  const missing = await ingot(hub, ['inspect', 'hf:org/repo:F16', '--offline']);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /hf:org\/repo:F16 is not in the cache.*offline.*\nIt holds tales-Q8_0\.gguf/);
  const wrong = await ingot(hub, ['inspect', 'hf:nothing']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /hf:nothing is not the name of a model on the hub/);
  const nobody = await ingot(hub, ['inspect', 'hf:org/other']);
  assert.match(nobody.err, /FileAccess: there is no model org\/other, or it is not public: .* answers 401/);
});

test('a folder with safetensors: shards, settings and tokenizer, nothing else; with half of its shards it is refused', async () => {
  await using hub = await freshHub();
  const source = join(fixtures('models'), 'qwen2');
  const read = (name: string) => readFileSync(join(source, name));
  const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
  const names = ['config.json', 'model.safetensors.index.json', ...shards];
  const files = { ...Object.fromEntries(names.map((name) => [name, read(name)])), 'pytorch_model.bin': noise(9) };
  hub.repositories.set('org/repo', { commit: commitOf('1'), files });
  const seen = await ingot(hub, ['inspect', 'hf:org/repo', '--json']);
  assert.equal(seen.code, 0, seen.err);
  const described = JSON.parse(seen.out);
  assert.equal(described.kind, 'huggingface');
  assert.equal(described.architecture, 'qwen2');
  assert.ok(!hub.asked.some(({ url }) => url.includes('pytorch')));

  const { [shards[1]]: _, ...half } = files as Record<string, Uint8Array>;
  hub.repositories.set('org/repo', { commit: commitOf('2'), files: half });
  await assert.rejects(
    pullFrom(hub),
    (error) => isIngotError(error, 'FileNotFound') && /2 of the 3 shards/.test(error.message),
  );
});

test('list shows what is there, rm removes what is named and nothing that something else needs', async () => {
  await using hub = await freshHub();
  assert.match((await ingot(hub, ['list'])).err, /There are no models in/);
  hub.repositories.set('org/repo', {
    ...repository(),
    files: { 'a-Q4_K_M.gguf': model, 'b-Q8_0.gguf': model, 'c-F16.gguf': noise(MiB, 3) },
  });
  for (const name of ['Q4_K_M', 'Q8_0', 'F16']) await pullFrom(hub, `hf:org/repo:${name}`);
  const list = async () => {
    const models: { name: string; state: string; bytes: number }[] = JSON.parse(
      (await ingot(hub, ['list', '--json'])).out,
    );
    return models.map(({ name, state, bytes }) => `${name} ${state} ${bytes}`);
  };
  assert.deepEqual(await list(), [
    'hf:org/repo:a-Q4_K_M.gguf complete 20971520',
    'hf:org/repo:b-Q8_0.gguf complete 20971520',
    'hf:org/repo:c-F16.gguf complete 1048576',
  ]);
  assert.match((await ingot(hub, ['rm', 'hf:org/repo:F16'])).err, /1\.0 MiB freed/);
  assert.match((await ingot(hub, ['rm', 'hf:org/repo:Q8_0'])).err, /0 B freed/);
  assert.deepEqual(await list(), ['hf:org/repo:a-Q4_K_M.gguf complete 20971520']);
  assert.match((await ingot(hub, ['rm', 'hf:org/repo:Q8_0'])).err, /is not in the cache/);
  {
    await using _ = await lock(new CachedRepository('org/repo').lockPath(modelHash));
    assert.match((await ingot(hub, ['rm', 'hf:org/repo'])).err, /org\/repo is being pulled/);
  }
  assert.match((await ingot(hub, ['rm', 'hf:org/repo'])).err, /20 MiB freed/);
  assert.deepEqual(await list(), []);
});
