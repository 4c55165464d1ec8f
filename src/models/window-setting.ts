/** Sliding windows as a setting: how many tokens each layer sees back. */
import type { Setting } from './config.ts';

/** Tokens that a layer sees back, itself included; undefined = all. A function, since files claim any number of layers. */
export type Windows = (layer: number) => number | undefined;

export const windows: Setting<Windows> = {
  gguf(s) {
    if (!s.has('attention.sliding_window')) return () => undefined;
    const window = s.count('attention.sliding_window');
    const pattern = s.booleans('attention.sliding_window_pattern');
    return (layer) => (pattern === undefined || pattern[layer] === true ? window : undefined);
  },
  huggingface(s) {
    if (!s.has('sliding_window') || !s.boolean('use_sliding_window', true)) return () => undefined;
    const window = s.count('sliding_window');
    const kinds = s.strings('layer_types');
    if (kinds !== undefined) return (layer) => (kinds[layer] === 'sliding_attention' ? window : undefined);
    // Qwen2 slides in the layers from this one on.
    const first = s.has('max_window_layers') ? s.number('max_window_layers') : 0;
    return (layer) => (layer >= first ? window : undefined);
  },
  write(windowOf, keys) {
    const all = Array.from({ length: keys.layers }, (_, layer) => windowOf(layer));
    const window = all.find((tokens) => tokens !== undefined);
    if (window === undefined) return;
    keys.set('attention.sliding_window', window);
    const pattern = all.map((tokens) => tokens !== undefined);
    if (!pattern.every(Boolean)) keys.set('attention.sliding_window_pattern', pattern);
  },
};
