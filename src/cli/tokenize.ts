/** `ingot tokenize`: text from standard input to token ids, and back; only the vocabulary of the model is read. */
import type { Command } from 'commander';
import { openTokenizer } from '../engine/open-model-node.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { bundledModel } from './bundled-model.ts';
import { usageError } from './failure.ts';
import { readStandardInput } from './standard-input.ts';

interface TokenizeOptions {
  readonly model?: string;
  readonly special: boolean;
  readonly decode?: boolean;
  readonly json?: boolean;
}

export function addTokenize(program: Command): void {
  program
    .command('tokenize')
    .summary('turn text into token ids, or back')
    .description(
      'Reads text from standard input and prints its tokens, a line each. Special tokens written out in it count, and those ' +
        'that the model begins and ends a text with are added.',
    )
    .option('--model <file>', 'a GGUF file or a Hugging Face folder (default: the bundled model)')
    .option('--no-special', 'special tokens in the text are text, and none are added; with --decode, none are shown')
    .option('--decode', 'read ids, as JSON or with white space between them, and print their text')
    .option('--json', 'print one JSON object: ids and tokens, or with --decode the text')
    .action(async (options: TokenizeOptions) => {
      await using checkpoint = await openCheckpoint(options.model ?? bundledModel);
      const tokenizer = await openTokenizer(checkpoint);
      const input = await readStandardInput();
      await write(options.decode ? decoded(input, tokenizer, options) : encoded(input, tokenizer, options));
    });
}

function encoded(text: string, tokenizer: Tokenizer, { special, json }: TokenizeOptions): string {
  const ids = tokenizer.encode(text, special ? { parseSpecial: true } : { addSpecial: false });
  const tokens = ids.map((id) => tokenizer.tokenText(id));
  if (json) return `${JSON.stringify({ ids, tokens })}\n`;
  return ids.map((id, i) => `${String(id).padStart(6)}  ${JSON.stringify(tokens[i])}\n`).join('');
}

function decoded(input: string, tokenizer: Tokenizer, { special, json }: TokenizeOptions): string {
  const text = tokenizer.decode(readIds(input), { special });
  return json ? `${JSON.stringify({ text })}\n` : text;
}

/** An array, an object that has one as `ids`, or numbers with white space between them. */
function readIds(input: string): number[] {
  const words = input.trim();
  const ids = /^[[{]/.test(words) ? readJsonIds(words) : words.split(/\s+/).filter(Boolean).map(Number);
  if (Array.isArray(ids) && ids.every((id): id is number => Number.isInteger(id))) return ids;
  throw usageError('the input holds no token ids', 'Give whole numbers: 1 2 3, [1, 2, 3] or {"ids": [1, 2, 3]}');
}

function readJsonIds(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'ids' in value ? value.ids : value;
  } catch {
    return undefined;
  }
}

/** Waits for a slow reader. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}
