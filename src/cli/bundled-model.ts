/** The model that comes with Ingot, and how models are called. */
import { bundledModel } from '../hub/find-model.ts';
import { nameOfCached } from '../hub/name.ts';

export { bundledModel };

/** A model's path as people are told of it. */
export function modelName(path: string): string {
  return path === bundledModel ? 'tales (bundled)' : (nameOfCached(path) ?? path);
}
