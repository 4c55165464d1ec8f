/** Ranks on two hosts (`network-hosts.ts`): the text of one process, also where their link is cut while it streams. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { complete, completeAlone } from './complete.ts';
import { launchers, missing } from './mpi-launchers.ts';
import { Hosts, launchOn, noHosts } from './network-hosts.ts';
import { startServer } from './serve-harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-hosts-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const skip = missing(launchers[0]) || noHosts();

test('a link between two hosts that is cut costs a stream time and no word', { skip }, async () => {
  using hosts = new Hosts();
  const options = launchOn(hosts, folder);
  await using server = await startServer(options, '--mesh', 'tensor=2', '--host', hosts.outside, '--verbose');
  const text = await completeAlone(folder);
  assert.equal(await complete(server.url), text);
  const lossOf = (log: string) => log.split('\n').find((line) => line.startsWith('{') && line.includes('RankLost'));
  let cut = 0;
  // The link comes back when it was missed.
  const mend = setInterval(() => {
    if (cut === 0 || lossOf(server.log()) === undefined) return;
    clearInterval(mend);
    hosts.link('up');
  }, 50).unref();
  const again = await complete(server.url, (count) => {
    if (count !== 20) return;
    hosts.link('down');
    cut = Date.now();
  });
  assert.equal(again, text);
  const lost = lossOf(server.log());
  const { time, error } = JSON.parse(lost ?? '{}');
  assert.match(error.message, /rank 1 .* has not answered for 1\.\d+ s/);
  // A busy machine may be late by itself: on a quiet one it is less than two seconds.
  assert.ok(time - cut < 60_000, `${time - cut} ms`);
});

test('two ranks on each of two hosts write the text of one process', { skip }, async () => {
  using hosts = new Hosts();
  await using server = await startServer(launchOn(hosts, folder, 2), '--mesh', 'tensor=4', '--host', hosts.outside);
  assert.equal(await complete(server.url), await completeAlone(folder));
});
