/** Sliding windows as a setting: how many tokens each layer sees back. */
import { IngotError } from '../base/errors.ts';
import type { MetadataValue } from '../formats/checkpoint.ts';
import type { Setting } from './config.ts';
import type { Settings } from './settings.ts';

/** Tokens that a layer sees back, itself included; undefined = all. A function, since files claim any number of layers. */
export type Windows = (layer: number) => number | undefined;

const sizeKey = 'attention.sliding_window';
const patternKey = 'attention.sliding_window_pattern';

/** `period`: every so many layers the last one sees all, where files do not say which; without it all layers slide. */
export function windowSetting(period?: number): Setting<Windows> {
  return {
    gguf(s) {
      if (!s.has(sizeKey)) return () => undefined;
      const slides =
        typeof s.get(patternKey) === 'number' ? everyBut(s.count(patternKey)) : listed(s.booleans(patternKey));
      return windows(s.count(sizeKey), slides ?? everyBut(period));
    },
    huggingface(s) {
      if (!s.has('sliding_window') || !s.boolean('use_sliding_window', true)) return () => undefined;
      return windows(s.count('sliding_window'), slidingLayers(s) ?? everyBut(period));
    },
    write(windowOf, keys) {
      const all = Array.from({ length: keys.layers }, (_, layer) => windowOf(layer));
      const window = all.find((tokens) => tokens !== undefined);
      if (window === undefined) return;
      keys.set(sizeKey, window);
      const pattern = all.map((tokens) => tokens !== undefined);
      const isPeriod = (length: number | undefined) => pattern.every((slides, i) => everyBut(length)(i) === slides);
      if (!isPeriod(period)) keys.set(patternKey, period === undefined ? pattern : periodOf(pattern, isPeriod));
    },
  };
}

type Slides = (layer: number) => boolean;

function windows(window: number, slides: Slides): Windows {
  return (layer) => (slides(layer) ? window : undefined);
}

function everyBut(period: number | undefined): Slides {
  return (layer) => period === undefined || (layer + 1) % period !== 0;
}

function listed(pattern: readonly boolean[] | undefined): Slides | undefined {
  return pattern && ((layer) => pattern[layer] === true);
}

function slidingLayers(s: Settings): Slides | undefined {
  const kinds = s.strings('layer_types');
  if (kinds !== undefined) return (layer) => kinds[layer] === 'sliding_attention';
  if (s.has('sliding_window_pattern')) return everyBut(s.count('sliding_window_pattern'));
  if (!s.has('max_window_layers')) return undefined;
  // Qwen2 slides in the layers from this one on.
  const first = s.number('max_window_layers');
  return (layer) => layer >= first;
}

/** Files of architectures whose layers alternate know a period, and no list. */
function periodOf(pattern: readonly boolean[], isPeriod: (length: number) => boolean): MetadataValue {
  const found = pattern.findIndex((_, i) => isPeriod(i + 1));
  if (found >= 0) return found + 1;
  throw new IngotError('UnsupportedFile', 'GGUF files of this architecture cannot say which of these layers slide');
}
