/** What a model takes on a mesh: memory of each rank, what ranks send, and how long steps would take. No weight is read. */
import { IngotError } from '../base/errors.ts';
import { compile } from '../compiler/compile.ts';
import type { Hardware } from '../compiler/cost.ts';
import { checkDivided } from '../compiler/partition/check-divided.ts';
import { localProgram, type Plan } from '../compiler/partition/partition.ts';
import { planOf } from '../compiler/partition/plan.ts';
import { type RankCost, rankCost, rankSeconds } from '../compiler/partition/rank-cost.ts';
import { Place } from '../compiler/partition/split.ts';
import { createNullDevice } from '../devices/null/device.ts';
import { stepLimits } from '../engine/step-limits.ts';
import { formatMesh, type Mesh, meshSize, sizeAlong } from '../ir/mesh.ts';
import type { Model } from '../models/model.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { formatBytes, formatNumber, formatSeconds, formatTable } from './report.ts';

/** Ranks that hold and do the same amounts. */
export interface RankReport {
  readonly ranks: number;
  readonly weightBytes: number;
  /** KV cache of the whole context, and what sampling remembers. */
  readonly stateBytes: number;
  readonly scratchBytes: number;
  readonly sentBytesPerToken: number;
  readonly collectivesPerToken: number;
  readonly computingSecondsPerToken: number;
  readonly communicatingSecondsPerToken: number;
}

export interface MeshReport {
  readonly mesh: string;
  readonly hardware: Hardware;
  readonly contextLength: number;
  readonly ranks: readonly RankReport[];
  /** Of one replica, as fast as its slowest rank; prompts in steps of `promptTokens`. */
  readonly tokensPerSecond: number;
  readonly promptTokensPerSecond: number;
  readonly promptTokens: number;
  readonly replicas: number;
}

const promptTokens = 128;

/** What nobody has measured: ranks that write to the memory that others read. */
function linked(hardware: Hardware): Hardware {
  return { ...hardware, link: { bytesPerSecond: hardware.readBytesPerSecond / 2, latencySeconds: 5e-6 } };
}

/** @throws IngotError 'Usage' for meshes that the model cannot be divided over. */
export async function reportMesh(
  model: Model,
  mesh: Mesh,
  { contextLength, kv }: { readonly contextLength: number; readonly kv: KvFormat },
  machine: Hardware,
): Promise<MeshReport> {
  const other = mesh.axes.find(({ name, size }) => size > 1 && name !== 'data' && name !== 'tensor');
  if (other !== undefined) {
    const hint = 'its axes are data and tensor';
    throw new IngotError('Usage', `models are not divided along '${other.name}' yet`, { hint });
  }
  const hardware = machine.link === undefined ? linked(machine) : machine;
  const result = model.results.includes('sample') ? 'sample' : 'embedding';
  const build = (maxTokens: number) => {
    const limits = { ...stepLimits(model, { contextLength }), maxTokens, maxRows: 1 };
    return model.build({ limits, kv, numerics: 'i8', results: [result] });
  };
  const prompt = planOf(build(promptTokens), mesh);
  checkDivided(prompt);
  const decode = planOf(build(1), mesh, { choices: prompt.choices });
  const ranks: RankReport[] = [];
  let slowestPrompt = 0;
  for (const { rank, count } of alikeRanks(prompt)) {
    const cost = rankCost(localProgram(decode, rank).program);
    const time = rankSeconds(cost, hardware);
    const whole = localProgram(prompt, rank).program;
    slowestPrompt = Math.max(slowestPrompt, totalSeconds(rankCost(whole), hardware));
    await using device = createNullDevice(hardware);
    using executable = await device.compile(whole, compile);
    ranks.push({
      ranks: count,
      weightBytes: cost.weightBytes,
      stateBytes: cost.stateBytes,
      scratchBytes: executable.scratchBytes,
      sentBytesPerToken: cost.sentBytes,
      collectivesPerToken: cost.collectives,
      computingSecondsPerToken: time.computing,
      communicatingSecondsPerToken: time.communicating,
    });
  }
  const slowest = Math.max(...ranks.map((each) => each.computingSecondsPerToken + each.communicatingSecondsPerToken));
  return {
    ...{ mesh: formatMesh(mesh), hardware, contextLength, ranks, promptTokens },
    tokensPerSecond: 1 / slowest,
    promptTokensPerSecond: promptTokens / slowestPrompt,
    replicas: mesh.axes.some(({ name }) => name === 'data') ? sizeAlong(mesh, ['data']) : 1,
  };
}

function totalSeconds(cost: RankCost, hardware: Hardware): number {
  const { computing, communicating } = rankSeconds(cost, hardware);
  return computing + communicating;
}

/** One rank for each combination of amounts, and how many have it. */
function alikeRanks({ program, mesh, splitsOf }: Plan): readonly { readonly rank: number; readonly count: number }[] {
  const found = new Map<string, { rank: number; count: number }>();
  const splits = program.main.parameters.map((value) => ({ value, layout: { splits: splitsOf(value) } }));
  const parts = splits.filter(({ layout }) => layout.splits.some((split) => split !== undefined));
  for (let rank = 0; rank < meshSize(mesh); rank++) {
    const place = new Place(mesh, rank);
    const sizes = parts.map(({ value, layout }) =>
      value.type.kind === 'tensor' ? place.localType(value.type, layout).shape.join() : '',
    );
    const key = sizes.join(' ');
    const alike = found.get(key);
    if (alike === undefined) found.set(key, { rank, count: 1 });
    else alike.count++;
  }
  return [...found.values()];
}

export function formatMeshReport(report: MeshReport): string {
  const { hardware, ranks, replicas } = report;
  const { link } = hardware;
  const rows = ranks.map((each) => [
    `${each.ranks}`,
    formatBytes(each.weightBytes),
    formatBytes(each.stateBytes),
    formatBytes(each.scratchBytes),
    formatBytes(each.sentBytesPerToken),
    `${each.collectivesPerToken}`,
    formatSeconds(each.computingSecondsPerToken),
    formatSeconds(each.communicatingSecondsPerToken),
  ]);
  const head = ['ranks', 'weights', 'KV cache', 'to compute in', 'sent/token', 'meetings', 'computing', 'talking'];
  const links =
    link === undefined
      ? ''
      : `, ${formatBytes(link.bytesPerSecond)}/s and ${formatSeconds(link.latencySeconds)} between ranks`;
  return [
    `Mesh ${report.mesh}, a context of ${report.contextLength} tokens, predicted for ranks like ${hardware.name}${links}:`,
    formatTable([head, ...rows]),
    `A text: ${formatNumber(report.tokensPerSecond)} tokens/s; a prompt: ${formatNumber(report.promptTokensPerSecond)} tokens/s` +
      (replicas > 1 ? `, on each of ${replicas} replicas` : ''),
  ].join('\n');
}
