/** From the arguments of `ingot serve` to models: what clients call them, and what memory they will take. */
import { basename } from 'node:path';
import type { LoadHooks } from '../engine/engine.ts';
import { type OpenOptions, openReplicated } from '../engine/open-node.ts';
import { findModel } from '../hub/find-model.ts';
import { nameOfCached, parseHubName } from '../hub/name.ts';
import type { ModelSource } from '../server/models.ts';
import { bundledModel } from './bundled-model.ts';
import { usageError } from './failure.ts';
import type { NamedModel } from './named-model.ts';

export interface ServedOptions extends Omit<OpenOptions, keyof LoadHooks | 'contextLength'> {
  /** Longest context of each model, at most. */
  readonly contextLength: number;
  readonly sequences: number;
}

/**
 * @param bounded whether what they need together is held below a bound.
 * @throws IngotError 'Usage' for two of one name; whatever is wrong with a file, where there are several or a bound.
 */
export async function servedModels(
  models: readonly NamedModel[],
  options: ServedOptions,
  bounded: boolean,
  onProgress: LoadHooks['onProgress'],
): Promise<readonly ModelSource[]> {
  const named = models.map(({ name, model: path }) => ({ name: name ?? usualName(path), path }));
  for (const [i, { name }] of named.entries()) {
    if (named.findIndex((other) => other.name === name) === i) continue;
    throw usageError(`two models are called ${JSON.stringify(name)}`, 'Name them yourself: NAME=MODEL.');
  }
  return Promise.all(
    named.map(async ({ name, path }) => ({
      name,
      // One alone that may have all there is is loaded at once, and says then what is wrong with it.
      bytes:
        named.length === 1 && !bounded ? 0 : await (await import('./expected-memory.ts')).expectedBytes(path, options),
      open: async (signal, onReplica) =>
        openReplicated(await findModel(path, { signal, onNotice: (text) => console.error(`ingot: ${text}`) }), {
          ...options,
          contextLength: { atMost: options.contextLength },
          signal,
          onReplica,
          ...(onProgress && { onProgress }),
        }),
    })),
  );
}

/** A model of the hub is called as its file there, or as its repository. */
export function usualName(path: string): string {
  if (path === bundledModel) return 'tales';
  const cached = nameOfCached(path);
  if (cached === undefined) return withoutEnding(basename(path));
  const { repo, part } = parseHubName(cached);
  return part === undefined ? repo : withoutEnding(basename(part));
}

function withoutEnding(file: string): string {
  return file.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '');
}
