/** Pulls of commands: a bar of progress, and what one might wonder about, on standard error. */
import { formatHubName, type HubName } from '../hub/name.ts';
import type { PullHooks } from '../hub/pull.ts';
import { showProgress } from './progress.ts';

/** Tells of what `pull` does while the name is pulled. */
export async function showingPull<T>(name: HubName, pull: (hooks: PullHooks) => Promise<T>): Promise<T> {
  using progress = showProgress(`Pulling ${formatHubName(name)}`);
  return await pull({ onProgress: progress.update, onNotice: (text) => console.error(`ingot: ${text}`) });
}
