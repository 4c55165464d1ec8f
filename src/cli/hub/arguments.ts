/** `hf:` names among the arguments and options of a command become paths before it runs: no command has to know of the hub. */
import type { Command } from 'commander';
import { isOffline } from '../../hub/http.ts';
import { looksLikeHubName, parseHubName } from '../../hub/name.ts';
import { findOrPull } from '../../hub/pull.ts';
import { showingPull } from '../hub-pulling.ts';
import { withInterrupt } from '../interrupt.ts';

/** These speak of the hub itself. */
const exempt: readonly string[] = ['pull', 'rm'];

/** @throws IngotError 'Usage' for names that are none, and as `findOrPull`. */
export async function resolveHubNames(command: Command, offline: boolean): Promise<void> {
  if (exempt.includes(command.name())) return;
  const resolve = async (value: unknown): Promise<unknown> => {
    if (typeof value !== 'string' || !looksLikeHubName(value)) return value;
    const name = parseHubName(value);
    return withInterrupt((signal) =>
      showingPull(name, (hooks) => findOrPull(name, offline || isOffline(), { signal, ...hooks })),
    );
  };
  for (const [i, value] of command.processedArgs.entries()) command.processedArgs[i] = await resolve(value);
  for (const [key, value] of Object.entries(command.opts())) {
    const resolved = await resolve(value);
    if (resolved !== value) command.setOptionValue(key, resolved);
  }
}
