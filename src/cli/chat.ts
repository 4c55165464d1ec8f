/** `ingot chat [MODEL]`: a conversation. Answers go to standard output, everything else to standard error. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { IngotError, isIngotError } from '../base/errors.ts';
import { beginAnswer } from '../engine/answer.ts';
import type { Engine, GenerateEvent } from '../engine/engine.ts';
import { openEngine } from '../engine/open-node.ts';
import type { Statistics } from '../engine/statistics.ts';
import type { AnswerParser } from '../tokenizer/answers/parser.ts';
import { bundledModel, modelName } from './bundled-model.ts';
import {
  fitMessages,
  loadMessages,
  type OverflowRule,
  overflowRules,
  saveMessages,
  type TextMessage,
} from './chat-history.ts';
import { ChatInput } from './chat-input.ts';
import { colour } from './colour.ts';
import { exitCodes, reportFailure, usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import {
  addEngineOptions,
  addSamplingOptions,
  type EngineFlags,
  engineSettings,
  refuseReplicas,
  type SamplingFlags,
  wholeNumber,
} from './options.ts';
import { showProgress } from './progress.ts';
import { formatBytes, formatNumber, formatSeconds, peakMemory } from './report.ts';

interface ChatFlags extends SamplingFlags, EngineFlags {
  readonly n: number;
  readonly context?: number;
  readonly system?: string;
  readonly overflow: OverflowRule;
}

/** Where nothing is said: KV memory follows from it. */
const usualContext = 4096;

const help = `/system TEXT  what the model is told before all else; without a text, nothing
/save FILE    write the conversation as JSON
/load FILE    go on with a conversation that was saved
/stats        what the last answer cost, and how much of the context is used
/reset        forget everything but the system message
/exit         leave (also Ctrl-D)
A line that ends in a backslash goes on in the next; """ begins and ends a message of several lines.
Ctrl-C stops an answer.`;

export function addChat(program: Command): void {
  const command = program
    .command('chat')
    .summary('talk with a model')
    .description(
      'Talks with a model: each line is a message, lines from a pipe too. Answers go to standard output.\n' +
        `Within it:\n\n${help}`,
    )
    .argument('[model]', 'a GGUF file or a Hugging Face folder; the bundled story model without it')
    .option('--system <text>', 'what the model is told before all else')
    .option('-n <tokens>', 'at most so many tokens an answer', wholeNumber(1), 512)
    .option(
      '-c, --context <tokens>',
      `longest conversation (default: ${usualContext}, or what the model holds)`,
      wholeNumber(16),
    )
    .addOption(
      new Option(
        '--overflow <rule>',
        'when the context is full: truncate-middle leaves out turns after the first, and the middle of a message that is too ' +
          'long by itself; slide leaves out the oldest turns; error refuses the message',
      )
        .choices(overflowRules)
        .default('truncate-middle'),
    );
  addEngineOptions(addSamplingOptions(command)).action(async (model: string | undefined, flags: ChatFlags) => {
    refuseReplicas(flags, 'chat');
    const path = model ?? bundledModel;
    await using engine = await withInterrupt((signal) => open(path, flags, signal));
    await new Chat(engine, flags).run(modelName(path));
  });
}

async function open(path: string, flags: ChatFlags, signal: AbortSignal): Promise<Engine> {
  using progress = showProgress('Loading');
  return await openEngine(path, {
    ...engineSettings(flags),
    // A request of so many tokens: as far as the model's own context goes.
    contextLength: flags.context ?? { prompt: [0], maxTokens: usualContext - 1 },
    signal,
    onProgress: progress.update,
  });
}

class Chat {
  readonly #engine: Engine;
  readonly #flags: ChatFlags;
  readonly #seed: bigint;
  #system: string | undefined;
  /** All that was said, without the system message. */
  #messages: readonly TextMessage[] = [];
  /** What of it is still sent. */
  #window: readonly TextMessage[] = [];
  /** Files that are this conversation's own: they may be replaced. */
  readonly #files = new Set<string>();
  #last: Statistics | undefined;
  #answering: AbortController | undefined;

  constructor(engine: Engine, flags: ChatFlags) {
    this.#engine = engine;
    this.#flags = flags;
    this.#seed = flags.seed ?? randomBytes(8).readBigUInt64LE();
    this.#system = flags.system;
  }

  async run(name: string): Promise<void> {
    const { contextLength, hasChatTemplate } = this.#engine;
    const interrupt = () => this.#interrupt(input);
    using input = new ChatInput(interrupt);
    process.on('SIGINT', interrupt);
    try {
      if (input.isTerminal) notice(`${name}, ${contextLength} tokens of context. /help lists what can be done.`);
      if (!hasChatTemplate) {
        notice('This model has no chat template: it continues what is written, and each message is a line of that.');
      }
      for (let line = await input.next(); line !== undefined; line = await input.next()) {
        try {
          if (line.block || !line.text.startsWith('/')) await this.#ask(line.text);
          else if ((await this.#command(line.text)) === 'leave') return;
        } catch (error) {
          if (!isIngotError(error) || isIngotError(error, 'DeviceLost') || isIngotError(error, 'RankLost')) throw error;
          const code = reportFailure(error, false);
          // A person has seen it and went on; a pipe has only this.
          if (!input.isTerminal) process.exitCode = code;
        }
      }
    } finally {
      process.off('SIGINT', interrupt);
    }
  }

  /** Ctrl-C stops an answer, the second time the process. */
  #interrupt(input: ChatInput): void {
    if (this.#answering === undefined) input.interrupt();
    else if (this.#answering.signal.aborted) process.exit(exitCodes.interrupted);
    else this.#answering.abort();
  }

  async #ask(text: string): Promise<void> {
    if (text.trim() === '') return;
    const { n, overflow, temperature, topK, topP, minP } = this.#flags;
    const question: TextMessage = { role: 'user', content: text };
    const messages = await fitMessages(this.#engine, this.#with([...this.#window, question]), n, overflow);
    const controller = new AbortController();
    this.#answering = controller;
    try {
      const { prompt, parser } = await beginAnswer(this.#engine, { messages });
      const events = this.#engine.generate({
        prompt,
        maxTokens: n,
        sampling: { temperature, topK, topP, minP, seed: this.#seed },
        signal: controller.signal,
      });
      const { answer, thoughts, end } = await show(events, parser());
      this.#last = end.statistics;
      if (end.reason === 'length')
        notice(this.#isFull(end.statistics) ? '(the context is full)' : `(cut after ${n} tokens: -n)`);
      if (answer === '' && end.reason === 'aborted') return;
      const said = {
        role: 'assistant',
        content: answer,
        ...(thoughts !== '' && { reasoning_content: thoughts }),
      } as const;
      const turn = [question, said];
      this.#messages = [...this.#messages, ...turn];
      this.#window = [...messages.filter(({ role }) => role !== 'system'), ...turn.slice(1)];
    } finally {
      this.#answering = undefined;
    }
  }

  #isFull({ promptTokens, generatedTokens }: Statistics): boolean {
    return promptTokens + generatedTokens >= this.#engine.contextLength;
  }

  /** After the system message. */
  #with(messages: readonly TextMessage[]): readonly TextMessage[] {
    return this.#system === undefined ? messages : [{ role: 'system', content: this.#system }, ...messages];
  }

  async #command(line: string): Promise<'leave' | undefined> {
    const [, name, rest] = /^\/(\S*)\s*(.*)$/s.exec(line.trim()) ?? ['', '', ''];
    const path = () => {
      if (rest === '') throw usageError(`/${name} needs the name of a file`);
      return rest;
    };
    switch (name) {
      case 'system':
        this.#system = rest === '' ? undefined : rest;
        notice(rest === '' ? 'No system message.' : 'The system message is set.');
        return undefined;
      case 'save': {
        const messages = this.#with(this.#messages);
        await saveMessages(path(), messages, this.#files.has(resolve(path())));
        this.#files.add(resolve(path()));
        notice(`${path()}: ${messages.length} messages`);
        return undefined;
      }
      case 'load': {
        const messages = await loadMessages(path());
        this.#system = messages.find(({ role }) => role === 'system')?.content;
        this.#messages = messages.filter(({ role }) => role !== 'system');
        this.#window = this.#messages;
        this.#files.clear();
        this.#files.add(resolve(path()));
        notice(`${path()}: ${messages.length} messages`);
        return undefined;
      }
      case 'stats':
        notice(await this.#statistics());
        return undefined;
      case 'reset':
        this.#messages = [];
        this.#window = [];
        this.#files.clear();
        notice('The conversation begins anew.');
        return undefined;
      case 'help':
        notice(help);
        return undefined;
      case 'exit':
        return 'leave';
      default:
        throw usageError(
          `there is no command /${name}`,
          '/help lists them; a message that begins with / goes between """',
        );
    }
  }

  async #statistics(): Promise<string> {
    const { contextLength } = this.#engine;
    const window = this.#with(this.#window);
    const used = window.length === 0 ? 0 : (await this.#engine.encode({ messages: window })).length;
    const parts = [
      `${this.#messages.length} messages, ${this.#window.length} of them sent`,
      `${used} of ${contextLength} tokens`,
    ];
    if (this.#last !== undefined) {
      const { promptTokens, reusedTokens, generatedTokens, ttftSeconds, decodeTokensPerSecond } = this.#last;
      parts.push(`last answer: ${promptTokens} tokens (${reusedTokens} reused) + ${generatedTokens}`);
      if (ttftSeconds !== undefined) parts.push(`TTFT ${formatSeconds(ttftSeconds)}`);
      if (decodeTokensPerSecond !== undefined) parts.push(`${formatNumber(decodeTokensPerSecond)} tokens/s`);
    }
    parts.push(`peak memory ${formatBytes(peakMemory())}`);
    if (this.#flags.temperature > 0) parts.push(`seed ${this.#seed}`);
    return parts.join(' | ');
  }
}

/** Streams an answer to standard output, and what it is thought out with to standard error. */
async function show(events: AsyncIterable<GenerateEvent>, parser: AnswerParser) {
  let [answer, thoughts] = ['', ''];
  for await (const event of events) {
    const special = event.kind === 'token' ? event.special : undefined;
    const parts = [...parser.push(event.text, special), ...(event.kind === 'end' ? parser.end() : [])];
    for (const part of parts) {
      if (part.kind === 'thoughts') {
        thoughts += part.text;
        process.stderr.write(colour.dim(part.text));
      } else if (part.kind === 'text') {
        if (answer === '' && thoughts !== '') process.stderr.write('\n\n');
        answer += part.text;
        process.stdout.write(part.text);
      }
    }
    if (event.kind !== 'end') continue;
    if (answer === '' && thoughts !== '') process.stderr.write('\n');
    if (!answer.endsWith('\n')) process.stdout.write('\n');
    return { answer, thoughts, end: event };
  }
  throw new IngotError('DeviceFault', 'the generation ended without saying why');
}

function notice(text: string): void {
  console.error(colour.dim(text));
}
