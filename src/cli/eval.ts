/** `ingot eval [MODEL]`: how well a model knows a text, how far it is from another model, how often it answers as expected. */
import type { Command } from 'commander';
import { IngotError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { type OpenOptions, openEngine } from '../engine/open-node.ts';
import { openFile } from '../formats/file-node.ts';
import { bundledModel, modelName } from './bundled-model.ts';
import { measureDivergence } from './eval-divergence.ts';
import { measureExactMatch, readQuestions } from './eval-match.ts';
import { halfWindows, measurePerplexity, stridedWindows, type Window } from './eval-perplexity.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { addEngineOptions, type EngineFlags, engineSettings, wholeNumber } from './options.ts';
import { showProgress } from './progress.ts';
import { formatCount } from './report.ts';

interface EvalFlags extends EngineFlags {
  readonly text?: string;
  readonly context?: number;
  readonly stride?: number;
  readonly against?: string;
  readonly questions?: string;
  readonly json?: boolean;
}

/** That of llama.cpp, so that figures can be compared. */
const usualWindow = 512;
const usualContext = 4096;
const maxTextBytes = 256 << 20;

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .summary('measure how good a model is')
    .description(
      'Measures the perplexity of a text (--text), by the rule of llama.cpp: windows of --context tokens, the second half of each ' +
        'scored; with --stride by that of Hugging Face. With --against also how far the model is from another one. With ' +
        '--questions, the share of answers that are exactly as expected.',
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled model without it')
    .option('--text <file>', 'a text to score')
    .option(
      '-c, --context <tokens>',
      `tokens of a window (default: ${usualWindow}), or of a question and its answer (${usualContext}); at most what the model holds`,
      wholeNumber(4),
    )
    .option('--stride <tokens>', 'move windows on by so many tokens, and score what is new in each', wholeNumber(1))
    .option(
      '--against <model>',
      'a reference, with keys and values in f32: mean KL divergence from it, and how often both agree on the likeliest token',
    )
    .option('--questions <file>', 'lines of JSON with a "prompt" and the "answer" that is expected');
  addEngineOptions(command)
    .option('--json', 'print one JSON object')
    .action(async (model: string | undefined, flags: EvalFlags) => {
      if ((flags.text === undefined) === (flags.questions === undefined)) {
        throw usageError('either --text or --questions says what to measure');
      }
      if (flags.text === undefined && (flags.stride !== undefined || flags.against !== undefined)) {
        throw usageError('--stride and --against are for a --text');
      }
      const measured = await withInterrupt((signal) => evaluate(model ?? bundledModel, flags, signal));
      console.log(flags.json ? JSON.stringify(measured, undefined, 2) : report(measured));
    });
}

async function evaluate(path: string, flags: EvalFlags, signal: AbortSignal) {
  if (flags.questions !== undefined) {
    const questions = readQuestions(await readTextFile(flags.questions), flags.questions);
    await using engine = await open(path, flags.context ?? upTo(usualContext), flags, signal);
    using progress = showProgress('Answering', 'questions');
    const match = await measureExactMatch(engine, questions, progress.update, signal);
    return { kind: 'exactMatch' as const, model: modelName(path), ...match };
  }
  const text = await readTextFile(flags.text ?? '');
  await using engine = await open(path, flags.context ?? upTo(usualWindow), flags, signal);
  const windows = await cut(engine, text, flags.stride);
  const common = { model: modelName(path), context: engine.contextLength, stride: flags.stride ?? null };
  if (flags.against === undefined) {
    using progress = showProgress('Scoring', 'windows');
    const perplexity = await measurePerplexity(engine, windows, progress.update, signal);
    return { kind: 'perplexity' as const, ...common, ...perplexity };
  }
  await using reference = await open(flags.against, engine.contextLength, { ...flags, kv: 'f32' }, signal);
  await checkSameTokens(engine, reference);
  using progress = showProgress('Comparing', 'windows');
  const divergence = await measureDivergence(engine, reference, windows, progress.update, signal);
  return { kind: 'divergence' as const, ...common, against: modelName(flags.against), ...divergence };
}

/** A request of so many tokens: as far as the model's own context goes. */
function upTo(tokens: number) {
  return { prompt: [0], maxTokens: tokens - 1 };
}

async function cut(engine: Engine, text: string, stride: number | undefined): Promise<readonly Window[]> {
  const ids = await engine.encode(text);
  const length = engine.contextLength;
  if (stride !== undefined) {
    if (stride > length - 1) throw usageError(`a stride of ${stride} tokens leaves gaps between windows of ${length}`);
    return stridedWindows(ids, length, stride);
  }
  // What an empty text begins with.
  const [begin] = await engine.encode('');
  return halfWindows(ids, length, begin);
}

/** @throws IngotError 'TokenizerMismatch': figures of different tokens cannot be compared. */
async function checkSameTokens(engine: Engine, reference: Engine): Promise<void> {
  const sample = 'The quick brown fox jumps over 13 lazy dogs.\n\tÄ 🦙 = "x";';
  const [ours, theirs] = await Promise.all([engine.encode(sample), reference.encode(sample)]);
  if (ours.join() === theirs.join()) return;
  throw new IngotError('TokenizerMismatch', 'the models cut text into different tokens', {
    hint: 'compare models of one family, a quantized one with the one it was made from',
  });
}

async function open(
  path: string,
  contextLength: NonNullable<OpenOptions['contextLength']>,
  flags: EvalFlags,
  signal: AbortSignal,
): Promise<Engine> {
  using progress = showProgress('Loading');
  return await openEngine(path, { ...engineSettings(flags), contextLength, signal, onProgress: progress.update });
}

async function readTextFile(path: string): Promise<string> {
  await using file = await openFile(path);
  if (file.length > maxTextBytes) {
    throw new IngotError('InvalidFile', `${file.length} bytes of text; at most ${maxTextBytes} are allowed`, { path });
  }
  return new TextDecoder().decode(await file.read(0, file.length));
}

type Measured = Awaited<ReturnType<typeof evaluate>>;

function report(measured: Measured): string {
  switch (measured.kind) {
    case 'exactMatch': {
      const { matches, questions, exactMatch } = measured;
      return `Exact match ${(100 * exactMatch).toFixed(1)}% (${matches} of ${questions})`;
    }
    case 'perplexity': {
      const { perplexity, error, tokens, windows, context } = measured;
      const what = `${formatCount(tokens)} tokens scored in ${windows} windows of ${context}`;
      return `Perplexity ${perplexity.toFixed(4)} +/- ${error.toFixed(4)} (${what})`;
    }
    case 'divergence': {
      const { meanKl, meanKlError, medianKl, maxKl, sameTop, perplexity, referencePerplexity, tokens, against } =
        measured;
      return [
        `Mean KL     ${meanKl.toFixed(6)} +/- ${meanKlError.toFixed(6)} nats a token from ${against}`,
        `Median KL   ${medianKl.toFixed(6)}, largest ${maxKl.toFixed(4)}`,
        `Same top    ${(100 * sameTop).toFixed(2)}% of ${tokens} tokens`,
        `Perplexity  ${perplexity.toFixed(4)}, of the reference ${referencePerplexity.toFixed(4)}`,
      ].join('\n');
    }
    default:
      return measured satisfies never;
  }
}
