/** `ingot serve` with several models, with TLS, and with whatever can go wrong around it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { repositoryPath } from '../fixtures.ts';
import { post, readMetrics, type Server, startServer } from './serve-harness.ts';

const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const main = repositoryPath('dist', 'ingot', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'ingot-serve-models-'));
const second = join(folder, 'second.gguf');
const small = ['--sequences', '4', '--context', '256'];

let server: Server;
before(async () => {
  copyFileSync(bundled, second);
  // There is room for one of them.
  server = await startServer({ folder }, `first=${bundled}`, second, ...small, '--memory', '12MB', '--verbose');
});
after(async () => {
  await server[Symbol.asyncDispose]();
  const { code, err } = await server.ended;
  rmSync(folder, { recursive: true });
  assert.equal(code, 0, err);
});

interface Answer {
  readonly model: string;
  readonly choices: readonly { readonly text: string }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}
const complete = (model: string, more: object = {}) =>
  post(server.url, '/v1/completions', { model, prompt: 'Once upon a time', max_tokens: 8, temperature: 0, ...more });

async function loadedModels(): Promise<Readonly<Record<string, boolean>>> {
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as {
    data: { id: string; loaded: boolean }[];
  };
  return Object.fromEntries(data.map(({ id, loaded }) => [id, loaded]));
}

test('the first model is there at once, others when they are asked for, and the one that is longest unused goes', async () => {
  assert.deepEqual(await loadedModels(), { first: true, second: false });
  const answers = await Promise.all([complete('second'), complete('first'), complete('second')]);
  const [a, b, c] = (await Promise.all(answers.map((answer) => answer.json()))) as Answer[];
  assert.deepEqual([a?.model, b?.model, c?.model], ['second', 'first', 'second']);
  assert.equal(a?.choices[0]?.text, b?.choices[0]?.text, 'they are the same file');
  const unnamed = (await (await post(server.url, '/v1/completions', { prompt: 'A', max_tokens: 1 })).json()) as Answer;
  assert.equal(unnamed.model, 'first');
  assert.deepEqual(await loadedModels(), { first: true, second: false });
  assert.equal((await complete('third')).status, 404);
});

test('a stream keeps its model while another is wanted, and counters go on', async () => {
  const { body } = await complete('first', { max_tokens: 200, ignore_eos: true, stream: true });
  const other = complete('second');
  const text = await new Response(body).text();
  assert.match(text, /"finish_reason":"length"/);
  assert.ok(text.endsWith('data: [DONE]\n\n'));
  assert.equal((await other).status, 200);
  const metrics = await readMetrics(server.url);
  assert.equal(metrics('ingot_model_loaded{model="first"}'), 0);
  assert.ok(metrics('ingot_model_loads_total{model="first"}') >= 2);
  assert.ok(metrics('ingot_generated_tokens_total{model="first"}') >= 200, 'of engines that are gone, too');
  assert.equal(metrics('ingot_weights_bytes{model="first"}'), 0);
});

test('a model file that is gone, changed or damaged costs its requests alone', async () => {
  assert.equal((await complete('first')).status, 200);
  const bytes = readFileSync(second);
  rmSync(second);
  const gone = await complete('second');
  assert.equal(gone.status, 503);
  const { error } = (await gone.json()) as { error: { message: string; code: string } };
  assert.equal(error.code, 'model_unavailable');
  assert.ok(!error.message.includes(folder), 'paths are for the log');
  writeFileSync(second, bytes.subarray(0, 1000));
  assert.equal((await complete('second')).status, 503);
  assert.equal((await complete('first')).status, 200);
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  writeFileSync(second, bytes);
  assert.equal((await complete('second')).status, 200, 'it is tried again');
  // Nothing is read of a file when its model is loaded.
  truncateSync(second, 0);
  assert.equal((await complete('second')).status, 200);
  writeFileSync(second, bytes);
});

test('TLS: what is asked and answered is encrypted', async (t) => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`;
  if (spawnSync('openssl', words.split(' ')).status !== 0) return t.skip('openssl makes no certificate here');
  const tls = ['--tls-cert', cert, '--tls-key', key];
  await using safe = await startServer({ folder }, ...small, ...tls);
  assert.match(safe.url, /^https:/);
  const status = await new Promise((resolve, reject) => {
    get(`${safe.url}/ready`, { ca: readFileSync(cert) }, (answer) => resolve(answer.resume().statusCode)).on(
      'error',
      reject,
    );
  });
  assert.equal(status, 200);
  await assert.rejects(fetch(`${safe.url.replace('https', 'http')}/ready`));
  writeFileSync(join(folder, 'bad.pem'), 'no certificate');
  await refused(/Usage.*certificate/, ...['--tls-cert', join(folder, 'bad.pem'), '--tls-key', key]);
});

/** It does not begin to serve, and says why in a sentence without a stack. */
async function refused(why: RegExp, ...args: string[]): Promise<void> {
  await assert.rejects(startServer({ folder }, ...args), (error) => {
    assert.ok(error instanceof Error);
    assert.match(error.message, why);
    assert.ok(!/defect|^\s+at /m.test(error.message), error.message);
    return true;
  });
}

test('what cannot be served is said before anything listens', async () => {
  mkdirSync(join(folder, 'empty'));
  writeFileSync(join(folder, 'keys'), '# none yet\n\n');
  await refused(/FileNotFound/, 'nothing.gguf');
  await refused(/UnsupportedFile|FileNotFound|InvalidFile/, join(folder, 'empty'));
  await refused(/FileNotFound/, bundled, 'nothing.gguf');
  await refused(/two models are called "tales"/, bundled, bundled);
  await refused(/more than --memory allows/, ...[`a=${bundled}`, `b=${bundled}`, '--memory', '1MB']);
  await refused(/--name is for one model/, ...[`a=${bundled}`, `b=${bundled}`, '--name', 'x']);
  await refused(/go together/, '--tls-cert', 'cert.pem');
  await refused(/--isolate keeps keys apart/, '--isolate');
  await refused(/holds no key/, '--api-key-file', join(folder, 'keys'));
  await refused(/FileNotFound/, '--api-key-file', join(folder, 'no-keys'));
  await refused(/an API key is empty/, '--api-key', '');
  await refused(/It must be a size/, '--memory', 'much');
  await refused(/somebody else listens there/, '--port', new URL(server.url).port);
  await refused(/no such address|nobody knows/, '--host', '203.0.113.7');
});

test('keys from a file, with comments', async () => {
  const file = join(folder, 'some-keys');
  writeFileSync(file, 'alpha # of a colleague\n\n# beta\r\ngamma\r\n');
  await using guarded = await startServer({ folder }, ...small, '--api-key-file', file);
  const status = async (key: string) =>
    (await fetch(`${guarded.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  assert.deepEqual(await Promise.all(['alpha', 'beta', 'gamma', ''].map(status)), [200, 401, 200, 401]);
});

test('a folder that cannot be written, and a full disk, do not end the server', async () => {
  await using blind = await startServer({ folder, env: { XDG_CACHE_HOME: '/dev/null' } }, ...small);
  assert.equal((await post(blind.url, '/v1/completions', { prompt: 'A', max_tokens: 2 })).status, 200);
  // No file may grow: as a full disk, for all that is written.
  await using full = await startServer(
    { folder, before: 'ulimit -f 0', env: { XDG_CACHE_HOME: join(folder, 'full') } },
    ...small,
  );
  assert.equal((await post(full.url, '/v1/completions', { prompt: 'A', max_tokens: 2 })).status, 200);
});

test('the end: a deadline for what runs, a second signal for the impatient, and Ctrl-C while it loads', async () => {
  const asked = { prompt: 'A', max_tokens: 100_000, ignore_eos: true, stream: true };
  const long = [...small.slice(0, 2), '--context', '512', '--device', 'reference'];
  const slow = await startServer({ folder }, ...long, '--drain', '1');
  const { body } = await post(slow.url, '/v1/completions', asked);
  slow.child.kill('SIGTERM');
  assert.match(await new Response(body).text(), /shutting down/);
  assert.equal((await slow.ended).code, 0);

  const impatient = await startServer({ folder }, ...long);
  const running = post(impatient.url, '/v1/completions', { ...asked, stream: false }).catch(() => 'cut off');
  while ((await readMetrics(impatient.url))('ingot_requests_running') !== 1) await sleep(5);
  impatient.child.kill('SIGINT');
  // It has taken the first signal when it takes no more requests.
  const isReady = () =>
    fetch(`${impatient.url}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (await isReady()) await sleep(5);
  impatient.child.kill('SIGINT');
  assert.equal((await impatient.ended).code, 130);
  assert.equal(await running, 'cut off');

  const early = spawnSync(process.execPath, [main, 'serve', '--port', '0'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 400,
    killSignal: 'SIGINT',
  });
  // Where it was faster than that it has begun to serve, and ends well.
  assert.ok(early.status === 130 || early.status === 0 || early.signal === 'SIGINT', early.stderr);
  assert.ok(!early.stderr.includes('defect'), early.stderr);
});
