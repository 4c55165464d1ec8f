/**
 * A model's configuration as a table with one row a setting. A row knows how GGUF files and how Hugging Face's
 * `config.json` spell its setting, so the same table reads both and writes GGUF; the keys are those of `gguf-py` and of
 * transformers. An architecture's table is made of the rows below and of its own.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, MetadataValue } from '../formats/checkpoint.ts';
import type { GgufDescription } from './model.ts';
import { poolingSetting } from './pooling.ts';
import { Settings } from './settings.ts';

export interface Setting<T> {
  gguf(s: Settings, checkpoint: Checkpoint): T;
  huggingface(s: Settings): T;
  /** Puts it among the keys of a GGUF file. @throws IngotError 'UnsupportedFile' for a value that they cannot say. */
  write(value: T, keys: GgufKeys): void;
}

export type SettingTable<Config> = { readonly [Name in keyof Config]: Setting<Config[Name]> };

export type ConfigOf<Table> = Table extends SettingTable<infer Config> ? Config : never;

/** Settings of Hugging Face of which Ingot knows these values alone; the first is what absence means. */
export type KnownValues = Readonly<Record<string, readonly [MetadataValue, ...MetadataValue[]]>>;

/**
 * @param architecture GGUF's name of it: its keys begin with that.
 * @throws IngotError 'InvalidFile' for settings that are missing or of a wrong kind, 'UnsupportedFile' for values that
 * Ingot does not know.
 */
export function readConfig<Config>(
  checkpoint: Checkpoint,
  architecture: string,
  table: SettingTable<Config>,
  known: KnownValues,
): Config {
  const read = readerOf(checkpoint, architecture, known);
  const rows = Object.entries<Setting<unknown>>(table);
  return Object.fromEntries(rows.map(([name, row]) => [name, read(row)])) as Config;
}

function readerOf(
  checkpoint: Checkpoint,
  architecture: string,
  known: KnownValues,
): (row: Setting<unknown>) => unknown {
  switch (checkpoint.kind) {
    case 'gguf': {
      const settings = new Settings(checkpoint, `${architecture}.`);
      return (row) => row.gguf(settings, checkpoint);
    }
    case 'huggingface': {
      const settings = new Settings(checkpoint);
      for (const [key, values] of Object.entries(known)) {
        if (!values.includes(settings.get(key) ?? values[0])) settings.unsupported(key, values.join(', '));
      }
      return (row) => row.huggingface(settings);
    }
    case 'llama2c':
    case 'safetensors':
      throw new IngotError('UnsupportedFile', `a ${checkpoint.kind} file does not configure a ${architecture}`, {
        path: checkpoint.path,
      });
    default:
      return checkpoint.kind satisfies never;
  }
}

/** The keys of a GGUF file, as they are written. */
export class GgufKeys {
  readonly metadata: Map<string, MetadataValue>;
  readonly floats = new Set<string>();
  readonly architecture: string;
  /** How many: for keys that say something of each. */
  readonly layers: number;

  constructor(architecture: string, layers: number) {
    this.architecture = architecture;
    this.layers = layers;
    this.metadata = new Map<string, MetadataValue>([
      ['general.architecture', architecture],
      ['general.type', 'model'],
    ]);
  }

  set(key: string, value: MetadataValue): void {
    this.metadata.set(`${this.architecture}.${key}`, value);
  }

  /** A float, even where it is whole. */
  setFloat(key: string, value: number): void {
    this.set(key, value);
    this.floats.add(`${this.architecture}.${key}`);
  }
}

/** @throws IngotError 'UnsupportedFile' for what GGUF's keys cannot say. */
export function writeConfig<Config extends { readonly layers: number }>(
  architecture: string,
  table: SettingTable<Config>,
  config: Config,
): Pick<GgufDescription, 'metadata' | 'floats'> {
  const keys = new GgufKeys(architecture, config.layers);
  for (const name in table) table[name].write(config[name], keys);
  return keys;
}

/** The half of a setting that reads it. */
export type Readable<T> = Pick<Setting<T>, 'gguf' | 'huggingface'>;

/** A positive whole number; `fallback` is what its absence means: a number, or what follows from other settings. */
export function count(gguf: string, huggingface: string, fallback?: number | Readable<number>): Setting<number> {
  const orElse = (read: (row: Readable<number>) => number) =>
    typeof fallback === 'object' ? read(fallback) : fallback;
  return {
    gguf: (s, checkpoint) =>
      s.has(gguf)
        ? s.count(gguf)
        : s.count(
            gguf,
            orElse((row) => row.gguf(s, checkpoint)),
          ),
    huggingface: (s) =>
      s.has(huggingface)
        ? s.count(huggingface)
        : s.count(
            huggingface,
            orElse((row) => row.huggingface(s)),
          ),
    write: (value, keys) => keys.set(gguf, value),
  };
}

/** Any number. */
export function number(gguf: string, huggingface: string, fallback?: number): Setting<number> {
  return {
    gguf: (s) => s.number(gguf, fallback),
    huggingface: (s) => s.number(huggingface, fallback),
    write: (value, keys) => keys.setFloat(gguf, value),
  };
}

/** A number, or undefined where a file does not say it. */
export function optionalNumber(gguf: string, huggingface: string): Setting<number | undefined> {
  const read = (s: Settings, key: string) => (s.has(key) ? s.number(key) : undefined);
  return {
    gguf: (s) => read(s, gguf),
    huggingface: (s) => read(s, huggingface),
    write: (value, keys) => (value === undefined ? undefined : keys.setFloat(gguf, value)),
  };
}

/** Yes or no. */
export function flag(gguf: string, huggingface: string, fallback: boolean): Setting<boolean> {
  return {
    gguf: (s) => s.boolean(gguf, fallback),
    huggingface: (s) => s.boolean(huggingface, fallback),
    write: (value, keys) => keys.set(gguf, value),
  };
}

/** Rows of the embedding: GGUF files need not say it. */
export const vocabularySize: Setting<number> = {
  gguf: (s, { tensors }) => tensors.get('token_embd.weight')?.shape[0] ?? s.count('vocab_size'),
  huggingface: (s) => s.count('vocab_size'),
  write: (value, keys) => keys.set('vocab_size', value),
};

const hiddenSize = count('embedding_length', 'hidden_size');
const heads = count('attention.head_count', 'num_attention_heads');

/** What heads have of the hidden size. */
export const headShare: Readable<number> = {
  gguf: (s, checkpoint) => hiddenSize.gguf(s, checkpoint) / heads.gguf(s, checkpoint),
  huggingface: (s) => hiddenSize.huggingface(s) / heads.huggingface(s),
};

const keyDim = count('attention.key_length', 'head_dim', headShare);

/** Of each head's queries, keys and values alike. */
const headDim: Setting<number> = {
  gguf(s, checkpoint) {
    const dimension = keyDim.gguf(s, checkpoint);
    if (s.count('attention.value_length', dimension) !== dimension) {
      s.unsupported('attention.value_length', `${dimension}, as of the keys`);
    }
    return dimension;
  },
  huggingface: keyDim.huggingface,
  write(value, keys) {
    keyDim.write(value, keys);
    keys.set('attention.value_length', value);
  },
};

/** Sizes that nearly every decoder has, under the names that most have. */
export const decoderSizes = {
  vocabularySize,
  contextLength: count('context_length', 'max_position_embeddings'),
  hiddenSize,
  layers: count('block_count', 'num_hidden_layers'),
  feedForwardSize: count('feed_forward_length', 'intermediate_size'),
  heads,
  kvHeads: count('attention.head_count_kv', 'num_key_value_heads', heads),
  headDim,
  pooling: poolingSetting,
};

export const rmsEpsilon = number('attention.layer_norm_rms_epsilon', 'rms_norm_eps');
