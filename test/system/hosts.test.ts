/**
 * Ranks on two hosts: network namespaces of Linux with names of their own, joined by a link that is cut while a text streams.
 * Wants root and the command `ip`.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { complete } from './complete.ts';
import { launcherEnvironment, launchers, missing } from './mpi-launchers.ts';
import { startServer } from './serve-harness.ts';

function run(...words: string[]): void {
  const { status, stderr, error } = spawnSync(words[0], words.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${words.join(' ')}: ${error?.message ?? stderr}`);
}

const ip = (text: string) => run('ip', ...text.split(' '));

/** Two namespaces with a link between them, and one from here to the first. */
class Hosts implements Disposable {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  /** Of the first host, for whoever is here. */
  readonly outside: string;
  /** The network between them. */
  readonly network: string;

  constructor() {
    const id = process.pid % 10_000;
    const [a, b] = [`ingota${id}`, `ingotb${id}`];
    const subnet = `10.${64 + (id % 64)}`;
    this.names = [a, b];
    this.addresses = [`${subnet}.1.1`, `${subnet}.1.2`];
    this.network = `${subnet}.1.0/24`;
    this.outside = `${subnet}.2.2`;
    try {
      for (const name of this.names) {
        ip(`netns add ${name}`);
        ip(`-n ${name} link set lo up`);
      }
      ip(`link add link-a netns ${a} type veth peer name link-b netns ${b}`);
      ip(`-n ${a} addr add ${this.addresses[0]}/24 dev link-a`);
      ip(`-n ${b} addr add ${this.addresses[1]}/24 dev link-b`);
      ip(`link add ${a} type veth peer name outside netns ${a}`);
      ip(`addr add ${subnet}.2.1/24 dev ${a}`);
      ip(`-n ${a} addr add ${this.outside}/24 dev outside`);
      ip(`link set ${a} up`);
      ip(`-n ${a} link set outside up`);
      ip(`-n ${a} link set link-a up`);
      this.link('up');
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  link(how: 'up' | 'down'): void {
    ip(`-n ${this.names[1]} link set link-b ${how}`);
  }

  /** What runs the rest of a shell's words on a host. */
  on(host: number): string {
    const name = this.names[host];
    return `ip netns exec ${name} unshare --uts sh -c 'hostname ${name}; exec "$0" "$@"'`;
  }

  [Symbol.dispose](): void {
    for (const name of this.names) spawnSync('ip', ['netns', 'del', name]);
  }
}

function noHosts(): string | false {
  try {
    using _ = new Hosts();
    return false;
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message.trim()}`;
  }
}

const folder = mkdtempSync(join(tmpdir(), 'ingot-hosts-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const skip = missing(launchers[0]) || noHosts();

test('a link between two hosts that is cut costs a stream time and no word', { skip }, async () => {
  using hosts = new Hosts();
  // What mpirun calls to start something on the other host, instead of ssh.
  const agent = join(folder, 'agent');
  writeFileSync(agent, `#!/bin/sh\nshift\nexec ${hosts.on(1)} sh -c "$*"\n`);
  chmodSync(agent, 0o755);
  const env = {
    ...launcherEnvironment,
    OMPI_MCA_plm_rsh_agent: agent,
    OMPI_MCA_oob_tcp_if_include: hosts.network,
    OMPI_MCA_btl_tcp_if_include: hosts.network,
  };
  const launch = ['launch', '--hosts', hosts.addresses.join()];
  const options = { folder, env, launch, through: hosts.on(0) };
  await using server = await startServer(options, '--mesh', 'tensor=2', '--host', hosts.outside, '--verbose');
  const text = await complete(server.url);
  let cut = 0;
  const again = await complete(server.url, (count) => {
    if (count !== 20) return;
    hosts.link('down');
    cut = Date.now();
    setTimeout(() => hosts.link('up'), 3000);
  });
  assert.equal(again, text);
  const lost = server
    .log()
    .split('\n')
    .find((line) => line.startsWith('{') && line.includes('RankLost'));
  const { time, error } = JSON.parse(lost ?? '{}');
  assert.match(error.message, /rank 1 .* has not answered/);
  // A busy machine may be late by itself: on a quiet one it is less than two seconds.
  assert.ok(time - cut < 10_000, `${time - cut} ms`);
});
