/** Two hosts of one machine: network namespaces of Linux with names of their own, joined by a link. Wants root and the command `ip`. */
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launcherEnvironment } from './mpi-launchers.ts';
import type { ServeOptions } from './serve-harness.ts';

function run(...words: string[]): void {
  const { status, stderr, error } = spawnSync(words[0], words.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${words.join(' ')}: ${error?.message ?? stderr}`);
}

const ip = (text: string) => run('ip', ...text.split(' '));

/** Two namespaces with a link between them, and one from here to the first. */
export class Hosts implements Disposable {
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

/** Why they cannot be made; false if they can. */
export function noHosts(): string | false {
  try {
    using _ = new Hosts();
    return false;
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message.trim()}`;
  }
}

/** `ingot launch` on the first host, with so many ranks on each. */
export function launchOn(hosts: Hosts, folder: string, ranks = 1): ServeOptions {
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
  const named = hosts.addresses.map((address) => `${address}:${ranks}`);
  return { folder, env, launch: ['launch', '--hosts', named.join()], through: hosts.on(0) };
}
