/**
 * What the ranks of a mesh say to each other in a bench, of which the first is in this process: the same work once more, on devices that record each
 * launch. Of rank 0; its time in exchanges is also that in which it waits for the others.
 */
import { throwIfAborted } from '../base/errors.ts';
import type { Device } from '../devices/device.ts';
import type { GenerateRequest } from '../engine/engine.ts';
import { openDeviceFor } from '../engine/load-node.ts';
import { LocalEngine } from '../engine/local-engine.ts';
import { openForRunning } from '../engine/open-model-node.ts';
import type { EngineFlags } from './options.ts';
import { formatBytes, formatSeconds, formatTable } from './report.ts';

export interface Communication {
  readonly seconds_per_token: number;
  /** Of the time of the test. */
  readonly share: number;
  readonly sent_bytes_per_token: number;
  /** Meetings of the ranks in a step. */
  readonly exchanges_per_step: number;
}

/** A test of the bench: requests that are computed together. */
export interface MeshWork {
  readonly test: string;
  /** Of a test of prompts, which is measured from its start: their tokens. Answers are, from the first token of each on. */
  readonly promptTokens?: number;
  requests(vocabularySize: number): readonly GenerateRequest[];
}

/** By test; nothing of devices that record no exchanges. @throws IngotError 'Aborted'. */
export async function measureCommunication(
  path: string,
  contextLength: number,
  { device: name, threads, mesh, groups, kv, numerics }: EngineFlags,
  sequences: number,
  tests: readonly MeshWork[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Communication>> {
  await using opened = await openForRunning(path);
  const { model, tokenizer } = opened;
  const ranks = await groups?.[0]?.open(1);
  await using device = await openDeviceFor(model, name, {
    threads,
    profile: 'sums',
    path,
    ...(mesh !== undefined && { mesh }),
    ...(ranks !== undefined && { ranks }),
  });
  await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength, sequences, kv, numerics });
  const measured = new Map<string, Communication>();
  for (const work of tests) {
    await carryOut(engine, device, work);
    const seconds = await carryOut(engine, device, work);
    // What was cut short is no measurement.
    throwIfAborted(signal);
    const { runs, kernels } = device.profile();
    const exchanges = kernels.filter(({ sentBytes }) => sentBytes !== undefined);
    if (exchanges.length === 0) continue;
    const sum = (of: (each: (typeof exchanges)[number]) => number) =>
      exchanges.reduce((all, each) => all + of(each), 0);
    // When the first token is told, the step of the second has been done as well.
    const tokens = work.promptTokens ?? runs * sequences;
    const spent = sum((each) => each.seconds);
    measured.set(work.test, {
      seconds_per_token: spent / tokens,
      share: spent / seconds,
      sent_bytes_per_token: sum((each) => each.sentBytes ?? 0) / tokens,
      // The second half of one sends nothing.
      exchanges_per_step: sum((each) => (each.sentBytes === 0 ? 0 : each.calls)) / runs,
    });
  }
  return measured;
}

/** Seconds; the device's profile has what was done in them. */
async function carryOut(engine: LocalEngine, device: Device, { promptTokens, requests }: MeshWork): Promise<number> {
  const all = requests(engine.model.vocabularySize);
  let [start, begun] = [performance.now(), 0];
  device.profile();
  await Promise.all(
    all.map(async (request) => {
      let tokens = 0;
      for await (const event of engine.generate(request)) {
        if (event.kind !== 'token' || ++tokens > 1 || ++begun < all.length || promptTokens !== undefined) continue;
        device.profile();
        start = performance.now();
      }
    }),
  );
  return (performance.now() - start) / 1000;
}

export function formatCommunication(measured: ReadonlyMap<string, Communication>): string {
  return formatTable([
    ['between ranks', 'time a token', 'share', 'sent a token', 'exchanges a step'],
    ...[...measured].map(([test, each]) => [
      test,
      formatSeconds(each.seconds_per_token),
      `${(100 * each.share).toFixed(1)}%`,
      formatBytes(each.sent_bytes_per_token),
      each.exchanges_per_step.toFixed(0),
    ]),
  ]);
}
