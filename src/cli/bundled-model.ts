/** The model that comes with Ingot. */
import { fileURLToPath } from 'node:url';
import { nameOfCached } from './hub/name.ts';

export const bundledModel = fileURLToPath(import.meta.resolve('ingot/models/tales/tales-q8_0.gguf'));

/** A model's path as people are told of it. */
export function modelName(path: string): string {
  return path === bundledModel ? 'tales (bundled)' : (nameOfCached(path) ?? path);
}
