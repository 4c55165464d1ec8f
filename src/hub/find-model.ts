/** From what somebody names to a path on this machine: a path as it is, `hf:` names out of the cache or from the hub, and the bundled model. */
import { fileURLToPath } from 'node:url';
import { looksLikeHubName, parseHubName } from './name.ts';
import type { PullHooks } from './pull.ts';

export const bundledModel = fileURLToPath(import.meta.resolve('ingot/models/tales/tales-q8_0.gguf'));

export interface FindOptions extends PullHooks {
  readonly signal?: AbortSignal;
  /** Only what is on this machine; also where HF_HUB_OFFLINE says so. */
  readonly offline?: boolean;
}

/** @throws IngotError 'Usage' for `hf:` names that are none; 'Network', 'FileNotFound', 'FileAccess' as pulling does. */
export async function findModel(
  model = bundledModel,
  { offline = false, ...options }: FindOptions = {},
): Promise<string> {
  if (!looksLikeHubName(model)) return model;
  const name = parseHubName(model);
  // Whoever has the file need not load what fetches it.
  const { findOrPull } = await import('./pull.ts');
  const { isOffline } = await import('./http.ts');
  return findOrPull(name, offline || isOffline(), options);
}
