/** Which models the server has, and whether it lets this page ask. */
import { signal } from '@preact/signals';
import { models as ask } from './api.ts';
import { type Failure, failureOf } from './failure.ts';
import { keepKey } from './store.ts';

export const models = signal<readonly string[]>([]);
export const modelsFailure = signal<Failure | undefined>(undefined);

export async function loadModels(): Promise<void> {
  try {
    models.value = await ask();
    modelsFailure.value = undefined;
  } catch (error) {
    modelsFailure.value = failureOf(error, false);
  }
}

/** Tries a key; it is kept if the server takes it. */
export async function unlock(key: string): Promise<void> {
  keepKey(key);
  await loadModels();
  if (modelsFailure.value?.kind === 'key') keepKey('');
}

/** The model that was chosen, if it is still there. */
export const modelOf = (chosen: string): string =>
  models.value.includes(chosen) || models.value.length === 0 ? chosen : (models.value[0] ?? '');
