/**
 * Recorded arrivals of production services, in two published formats:
 *
 * - Azure's LLM inference traces (github.com/Azure/AzurePublicDataset): CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens;
 * - Mooncake's traces (github.com/kvcache-ai/Mooncake): lines of JSON with `timestamp` in milliseconds, `input_length`,
 *   `output_length` and `hash_ids`, one for each 512 tokens of the prompt. The same id stands for the same tokens after the same beginning.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { IngotError } from '../../base/errors.ts';
import { systemError } from '../../formats/file-node.ts';

export interface TraceEntry {
  /** Seconds; where they begin to count says nothing. */
  readonly at: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Of the prompt, where the trace says which prompts begin alike. */
  readonly blocks?: readonly { readonly id: number; readonly tokens: number }[];
}

const mooncakeBlock = 512;
/** Longer than any context; a prompt is made as long as its line says. */
const longest = 1 << 22;

/** At most so many entries from the beginning, by time. @throws IngotError 'ParseError' with its line, 'FileNotFound', 'FileAccess'. */
export async function readTrace(path: string, most: number): Promise<readonly TraceEntry[]> {
  const entries: TraceEntry[] = [];
  let line = 0;
  let parse: ((text: string) => TraceEntry | undefined) | undefined;
  try {
    for await (const text of createInterface({
      input: createReadStream(path, 'utf8'),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      line++;
      if (text.trim() === '') continue;
      if (parse === undefined) {
        parse = text.startsWith('{') ? mooncakeEntry : azureEntry(text.split(','));
        if (parse === undefined) break;
        if (parse !== mooncakeEntry) continue;
      }
      const entry = parse(text);
      if (entry === undefined) throw wrong('not a request with its time and lengths');
      if (entries.length > 0 && entry.at < entries[entries.length - 1].at)
        throw wrong('it comes before the one above it');
      entries.push(entry);
      if (entries.length === most) break;
    }
  } catch (error) {
    throw systemError(error, path);
  }
  if (parse === undefined) throw wrong('neither the heading of an Azure trace nor a request of a Mooncake trace');
  if (entries.length === 0) throw wrong('the trace holds no requests');
  return entries;

  function wrong(what: string): IngotError {
    return new IngotError('ParseError', `${path} is no trace: ${what}`, { path, line });
  }
}

/** By the heading: a function of its other lines. */
function azureEntry(heading: readonly string[]): ((text: string) => TraceEntry | undefined) | undefined {
  const [time, prompt, output] = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens'].map((name) =>
    heading.findIndex((cell) => cell.trim() === name),
  );
  if (time < 0 || prompt < 0 || output < 0) return undefined;
  return (text) => {
    const cells = text.split(',').map((cell) => cell.trim());
    const stamp = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?/.exec(cells[time] ?? '');
    if (stamp === null) return undefined;
    const at = Date.parse(`${stamp[1]}T${stamp[2]}Z`) / 1000 + Number(stamp[3] ?? 0);
    return checked(at, Number(cells[prompt] || Number.NaN), Number(cells[output] || Number.NaN));
  };
}

function mooncakeEntry(text: string): TraceEntry | undefined {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { timestamp, input_length: input, output_length: output, hash_ids: ids } = value;
  const entry = checked(Number(timestamp) / 1000, Number(input), Number(output));
  if (entry === undefined || !Array.isArray(ids) || ids.length !== Math.ceil(entry.promptTokens / mooncakeBlock)) {
    return undefined;
  }
  if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return undefined;
  const tokens = (i: number) => Math.min(mooncakeBlock, entry.promptTokens - i * mooncakeBlock);
  return { ...entry, blocks: ids.map((id: number, i) => ({ id, tokens: tokens(i) })) };
}

function checked(at: number, promptTokens: number, outputTokens: number): TraceEntry | undefined {
  const isLength = (value: number) => Number.isInteger(value) && value >= 0 && value <= longest;
  if (!Number.isFinite(at) || !isLength(promptTokens) || !isLength(outputTokens)) return undefined;
  return { at, promptTokens, outputTokens };
}
