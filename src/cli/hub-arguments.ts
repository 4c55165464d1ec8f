/** `hf:` names among the arguments and options of a command become paths before it runs: no command has to know of the hub. */
import type { Command } from 'commander';
import { isOffline } from '../hub/http.ts';
import { looksLikeHubName, parseHubName } from '../hub/name.ts';
import { findOrPull } from '../hub/pull.ts';
import { showingPull } from './hub-pulling.ts';
import { withInterrupt } from './interrupt.ts';
import { splitName } from './named-model.ts';

/** These speak of the hub itself. */
const exempt: readonly string[] = ['pull', 'rm'];

/** @throws IngotError 'Usage' for names that are none, and as `findOrPull`. */
export async function resolveHubNames(command: Command, offline: boolean): Promise<void> {
  if (exempt.includes(command.name())) return;
  const resolve = async (value: unknown): Promise<unknown> => {
    if (Array.isArray(value)) {
      const resolved: unknown[] = [];
      for (const each of value) resolved.push(await resolve(each));
      return resolved;
    }
    if (typeof value !== 'string') return value;
    const { name, model } = splitName(value, () => false);
    if (!looksLikeHubName(model)) return value;
    const hubName = parseHubName(model);
    const path = await withInterrupt((signal) =>
      showingPull(hubName, (hooks) => findOrPull(hubName, offline || isOffline(), { signal, ...hooks })),
    );
    return name === undefined ? path : `${name}=${path}`;
  };
  for (const [i, value] of command.processedArgs.entries()) command.processedArgs[i] = await resolve(value);
  for (const [key, value] of Object.entries(command.opts())) {
    const resolved = await resolve(value);
    if (!Array.isArray(value) && resolved !== value) command.setOptionValue(key, resolved);
  }
}
