/** What a person may set for the answers of a conversation: the system prompt, and how words are drawn. */

export interface Settings {
  /** '' = the first that the server has. */
  readonly model: string;
  readonly system: string;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  /** null = as long as the context lasts. */
  readonly maxTokens: number | null;
  /** null = another one each time. */
  readonly seed: number | null;
}

/** Those of `ingot run` and `ingot chat`. */
export const defaultSettings: Settings = {
  model: '',
  system: '',
  temperature: 0.8,
  topP: 0.95,
  topK: 40,
  minP: 0.05,
  maxTokens: null,
  seed: null,
};

interface Range {
  readonly name: 'temperature' | 'topP' | 'topK' | 'minP';
  readonly label: string;
  readonly hint: string;
  readonly high: number;
  readonly step: number;
}

/** Numbers that are drawn as sliders; all begin at 0. */
export const ranges: readonly Range[] = [
  { name: 'temperature', label: 'Temperature', hint: '0 always takes the likeliest word', high: 2, step: 0.05 },
  { name: 'topP', label: 'Top p', hint: 'The likeliest words that together reach p', high: 1, step: 0.01 },
  { name: 'topK', label: 'Top k', hint: 'The k likeliest words; 0 = all', high: 200, step: 1 },
  { name: 'minP', label: 'Min p', hint: 'Drops words far less likely than the best', high: 1, step: 0.01 },
];

/** The fields of a request. */
export function samplingOf({ temperature, topP, topK, minP, maxTokens, seed }: Settings): object {
  return {
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    ...(maxTokens !== null && { max_tokens: maxTokens }),
    ...(seed !== null && { seed }),
  };
}

/** Settings out of storage, where anything may lie: what does not fit is as if nobody had set it. */
export function readSettings(stored: unknown): Settings {
  const from = (typeof stored === 'object' && stored !== null ? stored : {}) as Readonly<Record<string, unknown>>;
  const text = (name: 'model' | 'system') => (typeof from[name] === 'string' ? from[name] : defaultSettings[name]);
  const count = (name: 'maxTokens' | 'seed') => (Number.isSafeInteger(from[name]) ? Number(from[name]) : null);
  const numbers = ranges.map(({ name, high }) => {
    const value = from[name];
    return [name, typeof value === 'number' && value >= 0 && value <= high ? value : defaultSettings[name]] as const;
  });
  return {
    ...defaultSettings,
    ...Object.fromEntries(numbers),
    model: text('model'),
    system: text('system'),
    maxTokens: count('maxTokens'),
    seed: count('seed'),
  };
}
