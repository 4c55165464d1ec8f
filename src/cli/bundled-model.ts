/** The model that comes with Ingot. */
import { fileURLToPath } from 'node:url';

export const bundledModel = fileURLToPath(new URL('../../../models/tales/tales-q8_0.gguf', import.meta.url));

/** A model's path as people are told of it. */
export function modelName(path: string): string {
  return path === bundledModel ? 'tales (bundled)' : path;
}
