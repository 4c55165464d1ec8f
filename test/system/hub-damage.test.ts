/** Pulls from a hub that breaks, lies, refuses or hangs: what comes out is whole or an error, and what came is kept. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import {
  blobs,
  folder,
  freshHub,
  isModel,
  MiB,
  model,
  modelHash,
  pieceBytes,
  pullFrom,
  repository,
} from './hub-harness.ts';
import { commitOf, sendRange } from './hub-server.ts';

const refused = (code: string, text: RegExp) => (error: unknown) =>
  isIngotError(error) && error.code === code && text.test(error.message);

/** Sends half of what it announced, and closes. */
function cut(response: ServerResponse, from: number, to: number): void {
  response.writeHead(206, { 'content-length': to - from, 'content-range': `bytes ${from}-${to - 1}/${model.length}` });
  response.write(model.subarray(from, from + ((to - from) >> 1)), () => response.destroy());
}
const rangeOf = (text = '') => text.replace('bytes=', '').split('-').map(Number);

test('connections that drop in the middle go on where they ended', async () => {
  await using hub = await freshHub();
  let drops = 0;
  hub.onContents = ({ headers }, response) => {
    const [from, to] = rangeOf(headers.range);
    if (drops++ > 6 || to - from < MiB) return false;
    cut(response, from, to + 1);
    return true;
  };
  assert.ok(isModel((await pullFrom(hub)).path));
  const starts = hub.asked.filter(({ server }) => server === 'cdn').map(({ range }) => rangeOf(range)[0]);
  assert.ok(drops > 6 && starts.includes(pieceBytes / 2), String(starts));
});

test('lengths that are not true: of an answer, of the file, of the listing', async () => {
  await using hub = await freshHub();
  let short = 0;
  hub.onContents = ({ headers }, response) => {
    if (short++ > 3) return false;
    const [from, to] = rangeOf(headers.range);
    response
      .writeHead(206, { 'content-range': `bytes ${from}-${to}/${model.length}` })
      .end(model.subarray(from, to - 99));
    return true;
  };
  assert.ok(isModel((await pullFrom(hub)).path), 'answers that are too short');

  hub.onContents = ({ headers }, response) => {
    const [from] = rangeOf(headers.range);
    response.writeHead(206, { 'content-range': `bytes ${from}-${model.length - 1}/${model.length}` });
    response.end(model.subarray(from));
    return true;
  };
  rmSync(process.env.HF_HUB_CACHE ?? '', { recursive: true });
  assert.ok(isModel((await pullFrom(hub)).path), 'answers that are too long');

  rmSync(process.env.HF_HUB_CACHE ?? '', { recursive: true });
  hub.onContents = (_, response) => {
    response.writeHead(206, { 'content-range': 'bytes 0-0/1' }).end('x');
    return true;
  };
  await assert.rejects(
    pullFrom(hub),
    refused('FileChanged', /has 1 bytes; the listing of its repository says 20971520/),
  );

  hub.onContents = () => false;
  hub.repositories.set('org/repo', { ...repository(), listed: { 'm-Q4_K_M.gguf': { size: 30 * MiB } } });
  await assert.rejects(pullFrom(hub), refused('FileChanged', /has 20971520 bytes/));
  hub.repositories.set('org/repo', { ...repository(), listed: { 'm-Q4_K_M.gguf': { size: 2 ** 52 } } });
  await assert.rejects(pullFrom(hub), refused('FileAccess', /4096 TiB have to be fetched and the disk has/));
});

test('bytes that are wrong once are fetched again; always wrong, they are refused and nothing stays', async () => {
  await using hub = await freshHub();
  let answers = 0;
  const wrongUntil = (count: number) => {
    hub.onContents = (request, response, contents) => {
      const spoilt = Buffer.from(contents);
      if (answers++ < count) spoilt[3 * MiB] ^= 1;
      sendRange(spoilt, request, response);
      return true;
    };
  };
  wrongUntil(3);
  assert.ok(isModel((await pullFrom(hub)).path));
  assert.equal(answers, 6);

  rmSync(process.env.HF_HUB_CACHE ?? '', { recursive: true });
  wrongUntil(Number.POSITIVE_INFINITY);
  await assert.rejects(pullFrom(hub), refused('InvalidFile', /twice with contents that go with no hash/));
  assert.deepEqual(blobs(), []);
});

test('a server without ranges is read in one go, and goes on by reading from the start', async () => {
  await using hub = await freshHub();
  let answers = 0;
  hub.onContents = (_, response) => {
    answers++;
    response.writeHead(200, { 'content-length': model.length });
    if (answers === 5) response.write(model.subarray(0, 9 * MiB), () => response.destroy());
    else response.end(model);
    return true;
  };
  assert.ok(isModel((await pullFrom(hub)).path));
  assert.ok(answers >= 3 && answers <= 6, String(answers));
});

test('what refuses is said; what may pass is tried again', async () => {
  await using hub = await freshHub();
  const answers: number[] = [];
  const statuses = (...list: number[]) => {
    answers.splice(0, answers.length, ...list);
    rmSync(process.env.HF_HUB_CACHE ?? '', { recursive: true, force: true });
  };
  hub.onContents = (_, response) => {
    const status = answers.shift();
    if (status === undefined) return false;
    response.writeHead(status, status === 429 ? { 'retry-after': '0' } : {}).end('no');
    return true;
  };
  statuses(500, 503, 429, 429);
  assert.ok(isModel((await pullFrom(hub)).path), 'it passes');
  const asked = hub.asked.length;
  statuses(403);
  assert.ok(isModel((await pullFrom(hub)).path), 'an address that ran out');
  assert.equal(
    hub.asked.slice(asked).filter(({ url }) => url.includes('/resolve/')).length,
    4,
    'the hub gave a new one',
  );
  statuses(...Array<number>(99).fill(500));
  const notices: string[] = [];
  const told = pullFrom(hub, undefined, { onNotice: (text) => notices.push(text) });
  await assert.rejects(told, refused('Network', /answers 500/));
  assert.equal(notices.length, 1, notices.join());
  assert.match(notices[0], /answers 500.*tried again/);
  statuses(...Array<number>(99).fill(404));
  await assert.rejects(pullFrom(hub), refused('FileNotFound', /answers 404/));

  for (const [status, code] of [
    [401, 'FileAccess'],
    [403, 'FileAccess'],
    [404, 'FileNotFound'],
    [500, 'Network'],
    [418, 'Network'],
  ] as const) {
    hub.onHub = (_, response) => response.writeHead(status).end() !== undefined;
    await assert.rejects(pullFrom(hub), refused(code, new RegExp(`answers ${status}`)));
  }
  hub.onHub = (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end() !== undefined;
  await assert.rejects(pullFrom(hub), refused('Network', /answers 429/));
  hub.onHub = (_, response) => response.end('<html>Sign in to this network</html>') !== undefined;
  await assert.rejects(pullFrom(hub), refused('Network', /not JSON/));
});

test('silence is not waited for without end', async () => {
  await using hub = await freshHub();
  let hangs = 2;
  hub.onContents = () => hangs-- > 0;
  assert.ok(isModel((await pullFrom(hub, 'hf:org/repo', { patience: 1500 })).path));
  hub.onHub = () => true;
  await assert.rejects(pullFrom(hub, 'hf:org/repo', { patience: 300 }), refused('Network', /nothing came for 0\.3 s/));
});

test('a hub that nobody answers for is told by its reason', async () => {
  const hub = await freshHub();
  const { endpoint } = hub;
  await hub[Symbol.asyncDispose]();
  await assert.rejects(pullFrom({ endpoint }), refused('Network', /ECONNREFUSED/));
});

test('redirects: to where they should not, and without end', async () => {
  await using hub = await freshHub();
  const redirect = (location: string) => {
    hub.onHub = (request, response) =>
      request.url?.includes('/resolve/') === true && response.writeHead(302, { location }).end() !== undefined;
  };
  redirect('file:///etc/passwd');
  await assert.rejects(pullFrom(hub), refused('Network', /redirects to file:/));
  redirect('/org/repo/resolve/again');
  await assert.rejects(pullFrom(hub), refused('Network', /redirects more than 5 times/));
});

test('a listing that names files outside of the cache, or no hash, is refused', async () => {
  for (const path of [
    '../../x.gguf',
    '/x.gguf',
    'a//x.gguf',
    './x.gguf',
    'a\\..\\x.gguf',
    'c:x.gguf',
    'a\0.gguf',
    '',
  ]) {
    await using hub = await freshHub();
    hub.repositories.set('org/repo', { ...repository(), listed: { 'm-Q4_K_M.gguf': { path } } });
    await assert.rejects(pullFrom(hub), refused('InvalidFile', /the listing of org\/repo cannot be right/), path);
    assert.deepEqual(readdirSync(process.env.HF_HUB_CACHE ?? ''), []);
  }
});

test('contents that change between two halves of a pull: the new commit is fetched, the old part is left', async () => {
  await using hub = await freshHub();
  const stop = new AbortController();
  let answers = 0;
  hub.onContents = () => {
    if (++answers > 2) stop.abort();
    return false;
  };
  await assert.rejects(pullFrom(hub, 'hf:org/repo', { signal: stop.signal }), refused('Aborted', /cancelled/));
  assert.ok(blobs().includes(`${modelHash}.ingot-partial`));
  hub.onContents = () => false;
  const changed = Buffer.from(model);
  changed[0] ^= 1;
  hub.repositories.set('org/repo', { commit: commitOf('second'), files: { 'm-Q4_K_M.gguf': changed } });
  const { path, commit } = await pullFrom(hub);
  assert.equal(commit, commitOf('second'));
  assert.ok(!isModel(path));
  assert.ok(!blobs().includes(modelHash));
});

const noMount = process.getuid?.() !== 0 && 'skipped, because only root can mount a small disk';
test('a disk that fills in the middle: an error, and the rest later', { skip: noMount }, async (context) => {
  await using hub = await freshHub();
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=28m', 'ingot-test', disk]).status !== 0) {
    return context.skip('skipped, because no file system can be mounted here');
  }
  try {
    process.env.HF_HUB_CACHE = join(disk, 'cache');
    const filler = join(disk, 'filler');
    hub.onContents = () => {
      if (!existsSync(filler)) writeFileSync(filler, Buffer.alloc(14 * MiB));
      return false;
    };
    await assert.rejects(pullFrom(hub), refused('FileAccess', /no space left/));
    rmSync(filler);
    hub.onContents = () => false;
    const before = hub.asked.length;
    assert.ok(isModel((await pullFrom(hub)).path));
    const again = hub.asked.slice(before).filter(({ server }) => server === 'cdn').length;
    assert.ok(again >= 1 && again <= 3, `${again} pieces`);
    assert.deepEqual(blobs(), [modelHash]);
    await assert.rejects(pullFrom(hub, 'hf:org/repo:big'), refused('FileNotFound', /holds no big/));
  } finally {
    spawnSync('umount', [disk]);
  }
});
