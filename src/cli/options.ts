/** Options that several commands share, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type EngineNumerics, engineNumerics } from '../engine/engine.ts';
import type { OpenOptions } from '../engine/open-node.ts';
import { parseMesh, replicaCount } from '../ir/mesh.ts';
import { type KvFormat, kvFormats } from '../numerics/kv-format.ts';
import type { Ranks } from '../parallel/rank-group.ts';
import { usageError } from './failure.ts';
import { joinRanks } from './ranks.ts';

export function wholeNumber(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < low || value > high) {
      const range = high === Number.MAX_SAFE_INTEGER ? `from ${low}` : `from ${low} to ${high}`;
      throw new InvalidArgumentError(`It must be a whole number ${range}.`);
    }
    return value;
  };
}

export function numberIn(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`);
    }
    return value;
  };
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value < Number.POSITIVE_INFINITY)) {
    throw new InvalidArgumentError('It must be a number greater than 0.');
  }
  return value;
}

const units: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

/** '8GB', '1.5 GiB', '800M', bytes without a unit. */
export function byteSize(text: string): number {
  const [, digits, prefix = '', binary] = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])?(i)?b?)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) throw new InvalidArgumentError('It must be a size, like 8GB or 800MiB.');
  return Math.floor(Number(digits) * (binary === undefined ? 1000 : 1024) ** units[prefix.toLowerCase()]);
}

function seed(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 1n << 64n) {
    throw new InvalidArgumentError('It must be a whole number from 0 to 2^64 - 1.');
  }
  return BigInt(text);
}

/** Repeated options gather in a list. */
export function gather(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

function numericsOption(): Option {
  const text =
    'exact: one answer, however the prompt is cut into steps; fast: prompts in bf16, which gives that up; faster only with bf16 tiles (AMX)';
  return new Option('--numerics <how>', text).choices(engineNumerics).default('exact');
}

export function kvOption(): Option {
  const text = 'what keys and values are kept in: fewer bits take less memory and time, and lose some of the answer';
  return new Option('--kv <format>', text).choices(kvFormats).default('f32');
}

export interface SamplingFlags {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly seed?: bigint;
}

export function addSamplingOptions(command: Command): Command {
  return command
    .option('--temperature <t>', 'randomness; 0 always takes the likeliest token', numberIn(0, 100), 0.8)
    .option('--top-k <k>', 'choose among the k likeliest tokens; 0 = all', wholeNumber(0, 2 ** 31 - 1), 40)
    .option('--top-p <p>', 'choose among the likeliest tokens that together reach p; 1 = all', numberIn(0, 1), 0.95)
    .option('--min-p <p>', 'drop tokens less than p times as likely as the likeliest; 0 = none', numberIn(0, 1), 0.05)
    .option('--seed <n>', 'the same seed gives the same text (default: a new one, which is shown)', seed);
}

export interface EngineFlags {
  readonly device?: string;
  readonly threads?: number;
  readonly mlock?: boolean;
  readonly weightCache?: string;
  readonly mesh?: string;
  /** Ranks in other processes, where a launcher has started them: `ranks.ts`. */
  readonly groups?: readonly Ranks[];
  readonly numerics: EngineNumerics;
  readonly kv: KvFormat;
}

export function addEngineOptions(command: Command): Command {
  return command
    .option('--device <name>', 'where to compute: cpu or reference (default: the first that can be used)')
    .option(
      '-t, --threads <n>',
      'threads, one a core at most; as many as cores and quota allow if left out',
      wholeNumber(1, 4096),
    )
    .option(
      '--mesh <axes>',
      'tensor=2 divides the model among ranks, data=2 the requests among engines: of this process, whose threads they share, or of those that mpirun has started',
    )
    .option('--mlock', 'keep weights and cache in memory, whatever else the machine does')
    .option(
      '--weight-cache <folder>',
      'keep packed weights there, as large as the model once more: later starts map them, and processes have them in common',
    )
    .addOption(numericsOption())
    .addOption(kvOption())
    .hook('preAction', joinRanks);
}

/** Replicas serve several texts at once. @throws IngotError 'Usage'. */
export function refuseReplicas({ mesh }: EngineFlags, command: string): void {
  const count = mesh === undefined ? 1 : replicaCount(parseMesh(mesh));
  if (count === 1) return;
  const hint = 'tensor=2 divides the model; serve and bench have a use for data.';
  throw usageError(`ingot ${command} computes one text at a time, which ${count} replicas do not speed up`, hint);
}

/** What the options of `addEngineOptions` mean to an engine. */
export function engineSettings(flags: EngineFlags): OpenOptions {
  const { device, threads, mlock, weightCache, mesh, groups, numerics, kv } = flags;
  return {
    numerics,
    kv,
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads }),
    ...(mlock !== undefined && { mlock }),
    ...(weightCache !== undefined && { weightCache }),
    ...(mesh !== undefined && { mesh }),
    ...(groups !== undefined && { groups }),
  };
}
