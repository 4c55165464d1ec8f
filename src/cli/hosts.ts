/** Hosts on which ranks are started, from words or a file as launchers of MPI have them. */
import { readFileSync } from 'node:fs';
import { systemError } from '../formats/file-node.ts';
import { usageError } from './failure.ts';

interface Host {
  readonly name: string;
  readonly slots: number;
}

/** `host`, `host:2`, and in files `host slots=2`. @throws IngotError 'Usage'. */
function parseHost(text: string): Host {
  const [, name, slots = '1'] = /^([\w.-]+)(?:(?::|\s+slots\s*=\s*)(\d+))?$/.exec(text.trim()) ?? [];
  if (name === undefined || slots === '0') {
    throw usageError(`${JSON.stringify(text)} is no host`, 'such as node1, or node1:2 for two ranks');
  }
  return { name, slots: Number(slots) };
}

/** A host for each of so many ranks: as many next to each other as it has slots, or as they are more than hosts. */
export function hostOfEachRank(hosts: readonly Host[], ranks: number): readonly string[] {
  const slots = hosts.flatMap(({ name, slots }) => Array.from({ length: Math.min(slots, ranks) }, () => name));
  const each = Math.ceil(ranks / slots.length);
  return slots.flatMap((name) => Array.from({ length: each }, () => name)).slice(0, ranks);
}

export function parseHosts(text: string): readonly Host[] {
  return text.split(',').map(parseHost);
}

/** A line a host; behind # stands what people say to each other. @throws IngotError 'FileNotFound', 'FileAccess', 'Usage'. */
export function readHosts(path: string): readonly Host[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw systemError(cause, path);
  }
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  const hosts = lines.filter(Boolean).map(parseHost);
  if (hosts.length === 0) throw usageError(`${path} names no host`);
  return hosts;
}
