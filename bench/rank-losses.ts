/**
 * What streams of `ingot launch serve` see when its ranks are lost under them: `node dist/bench/rank-losses.js [--times N] [--seed N]`. Four streams
 * at a time of a model that two ranks divide; in turn a rank is killed, it is stopped, and a link is cut for a while, at another token each time,
 * and each rank has its turn. It prints how long no stream went on at most, and how long it took at most until the server said that a rank is lost. Where network namespaces can be made the ranks are on two hosts (test/system/network-hosts.ts), else on this one, and no link is cut.
 * It fails where a text is not the undisturbed one. Wants Open MPI.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { wholeNumber } from '../src/cli/options.ts';
import { complete } from '../test/system/complete.ts';
import { launcherEnvironment } from '../test/system/mpi-launchers.ts';
import { Hosts, launchOn, noHosts } from '../test/system/network-hosts.ts';
import { rankProcesses } from '../test/system/rank-processes.ts';
import { rankLosses, type ServeOptions, startServer } from '../test/system/serve-harness.ts';

const { times, seed } = new Command()
  .option('--times <n>', 'losses', wholeNumber(1), 50)
  .option('--seed <n>', 'says at which tokens', wholeNumber(0), 0)
  .parse()
  .opts<{ times: number; seed: number }>();
const prompts = ['Once upon a time', 'The fox', 'Lily saw', 'In the forest'];
const folder = mkdtempSync(join(tmpdir(), 'ingot-losses-'));
const whyNot = noHosts();
const hosts = whyNot === false ? new Hosts() : undefined;
if (whyNot !== false) console.error(whyNot);
const ways = ['SIGKILL', 'SIGSTOP', ...(hosts === undefined ? [] : (['link'] as const))] as const;

/** How long a link is cut: longer than it takes to notice. */
const cutMilliseconds = 3000;

const options: ServeOptions =
  hosts === undefined ? { folder, env: launcherEnvironment, launch: ['launch', '-n', '2'] } : launchOn(hosts, folder);
try {
  const at = hosts === undefined ? [] : ['--host', hosts.outside];
  await using server = await startServer(options, '--mesh', 'tensor=2', '--sequences', '4', '--verbose', ...at);
  let events = 0;
  const all = () => Promise.all(prompts.map((prompt) => complete(server.url, () => events++, prompt)));
  const expected = await all();
  const undisturbed = events;
  const pauses = new Map<string, number[]>(ways.map((way) => [way, []]));
  const notices = new Map<string, number[]>(ways.map((way) => [way, []]));
  for (let i = 0; i < times; i++) {
    const way = ways[i % ways.length];
    const begun = (undisturbed * (10 + ((i * 618 + seed * 382) % 700))) / 1000;
    events = 0;
    const streams = all();
    while (events < begun) await sleep(1);
    const before = events;
    const told = rankLosses(server.log()).length;
    const [start, clock] = [performance.now(), Date.now()];
    if (way === 'link') {
      hosts?.link('down');
      setTimeout(() => hosts?.link('up'), cutMilliseconds);
    } else process.kill(rankProcesses(server.child.pid ?? 0)[Math.floor(i / ways.length) % 2], way);
    // What was said already may still be on its way.
    await sleep(500);
    const said = events;
    while (events === said && events < undisturbed) await sleep(5);
    pauses.get(way)?.push((performance.now() - start) / 1000);
    assert.deepEqual(await streams, expected, `loss ${i}: ${way}`);
    notices.get(way)?.push((rankLosses(server.log())[told].time - clock) / 1000);
    console.error(`${way} at token ${before} of ${undisturbed}: every text is right`);
  }
  const lost = server.log().split('lost; its requests go on').length - 1;
  const longest = Object.fromEntries(
    [...pauses].map(([way, each]) => {
      const longestNotice = Math.max(...(notices.get(way) ?? []));
      return [way, { times: each.length, longestPause: Math.max(...each), longestNotice }];
    }),
  );
  console.log(JSON.stringify({ streams: times * prompts.length, lost, ...longest }, undefined, 2));
} finally {
  hosts?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
}
