/** `ingot run [MODEL] PROMPT`: continues a text, streamed to standard output; everything else goes to standard error. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import type { Engine, GenerateEvent } from '../engine/engine.ts';
import { openEngine } from '../engine/open-node.ts';
import type { Statistics } from '../engine/statistics.ts';
import { bundledModel } from './bundled-model.ts';
import { colour } from './colour.ts';
import { exitCodes, usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import {
  addEngineOptions,
  addSamplingOptions,
  type EngineFlags,
  engineSettings,
  gather,
  refuseReplicas,
  type SamplingFlags,
  wholeNumber,
} from './options.ts';
import { showProgress } from './progress.ts';
import { formatBytes, formatNumber, formatSeconds, peakMemory } from './report.ts';
import { readStandardInput } from './standard-input.ts';

interface RunOptions extends SamplingFlags, EngineFlags {
  readonly n: number;
  readonly stop?: readonly string[];
  readonly dump?: string;
  readonly json?: boolean;
}

export function addRun(program: Command): void {
  const command = program
    .command('run')
    .summary('continue a text')
    .description(
      'Continues a prompt and streams the text to standard output; the last line on standard error says what it cost.\n' +
        'One word is a prompt for the bundled story model, two are a model and a prompt; without either a story begins by itself. ' +
        'The prompt - is read from standard input.',
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder')
    .argument('[prompt]', 'the text to continue, in quotes')
    .option('-n <tokens>', 'generate at most so many tokens', wholeNumber(1), 256)
    .option('--stop <text>', 'stop before this text; may be given several times', gather);
  addEngineOptions(addSamplingOptions(command))
    .option('--json', 'print one JSON object: text, token ids, finish reason, statistics')
    .option('--dump <folder>', "write the model's program before and after each compiler pass there")
    .action(async (first: string | undefined, second: string | undefined, options: RunOptions) => {
      refuseReplicas(options, 'run');
      const task = await readTask(first, second);
      await withInterrupt((signal) => run(task, options, signal));
    });
}

/** What the bundled model begins with when it is asked for nothing; shown as part of the story. */
const opening = 'Once upon a time';

interface Task {
  readonly path: string;
  readonly prompt: string;
  /** Text that is printed before the answer. */
  readonly shown: string;
}

/** One word is a prompt, two are a model and a prompt. */
async function readTask(first: string | undefined, second: string | undefined): Promise<Task> {
  if (first === undefined) return { path: bundledModel, prompt: opening, shown: opening };
  if (second !== undefined) return { path: first, prompt: await readPrompt(second), shown: '' };
  const prompt = first;
  if ((/\.(gguf|safetensors|bin)$/.test(prompt) && existsSync(prompt)) || isModelFolder(prompt)) {
    const hint = `Give one: ingot run ${prompt} "Once upon a time". To talk with it: ingot chat ${prompt}`;
    throw usageError(`${prompt} is a model; a prompt is missing`, hint);
  }
  if (/^\S+\.(gguf|safetensors)$/.test(prompt)) throw usageError(`${prompt} does not exist`, 'Check the path.');
  return { path: bundledModel, prompt: await readPrompt(prompt), shown: '' };
}

const isModelFolder = (path: string) => existsSync(join(path, 'config.json'));

/** Files and what `echo` writes end with a line break that nobody means. */
async function readPrompt(prompt: string): Promise<string> {
  return prompt === '-' ? (await readStandardInput()).replace(/\r?\n$/, '') : prompt;
}

async function run({ path, prompt, shown }: Task, options: RunOptions, signal: AbortSignal): Promise<void> {
  await using engine = await open();
  const chosenSeed = options.seed ?? randomBytes(8).readBigUInt64LE();
  const { temperature, topK, topP, minP } = options;
  const events = engine.generate({
    prompt,
    maxTokens: options.n,
    sampling: { temperature, topK, topP, minP, seed: chosenSeed },
    signal,
    ...(options.stop !== undefined && { stop: options.stop }),
  });
  const outcome = options.json ? await collect(events) : await stream(shown, events);
  if (options.json) {
    const { tokens, end } = outcome;
    const text = shown + outcome.text;
    const statistics = { ...end.statistics, peakBytes: peakMemory() };
    console.log(JSON.stringify({ text, ids: tokens, finishReason: end.reason, seed: String(chosenSeed), statistics }));
  } else {
    printStatistics(outcome.end.statistics, temperature > 0 ? chosenSeed : undefined);
  }
  if (outcome.end.reason === 'aborted') process.exitCode = exitCodes.interrupted;

  async function open(): Promise<Engine> {
    using progress = showProgress('Loading');
    const { dump } = options;
    return await openEngine(path, {
      ...engineSettings(options),
      // The KV cache holds what this run can need, not all that the model could.
      contextLength: { prompt, maxTokens: options.n },
      signal,
      onProgress: progress.update,
      ...(dump !== undefined && { dump }),
    });
  }
}

interface Outcome {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly end: Extract<GenerateEvent, { kind: 'end' }>;
}

async function collect(events: AsyncIterable<GenerateEvent>, show?: (text: string) => void): Promise<Outcome> {
  let text = '';
  const tokens: number[] = [];
  for await (const event of events) {
    text += event.text;
    show?.(event.text);
    if (event.kind === 'end') return { text, tokens, end: event };
    tokens.push(event.id);
  }
  throw new IngotError('DeviceFault', 'the generation ended without saying why');
}

async function stream(shown: string, events: AsyncIterable<GenerateEvent>): Promise<Outcome> {
  process.stdout.write(shown);
  const outcome = await collect(events, (text) => process.stdout.write(text));
  if (!outcome.text.endsWith('\n')) process.stdout.write('\n');
  return outcome;
}

function printStatistics(statistics: Statistics, usedSeed: bigint | undefined): void {
  const { promptTokens, generatedTokens, ttftSeconds, tbotSeconds, decodeTokensPerSecond } = statistics;
  const parts = [
    `${promptTokens} + ${generatedTokens} tokens`,
    ttftSeconds === undefined ? 'no token' : `TTFT ${formatSeconds(ttftSeconds)}`,
    ...(tbotSeconds === undefined ? [] : [`TBOT ${formatSeconds(tbotSeconds)}`]),
    ...(decodeTokensPerSecond === undefined ? [] : [`${formatNumber(decodeTokensPerSecond)} tokens/s`]),
    `peak memory ${formatBytes(peakMemory())}`,
    ...(usedSeed === undefined ? [] : [`seed ${usedSeed}`]),
  ];
  console.error(colour.dim(parts.join(' | ')));
}
