/** `ingot pull NAME`: fetches a model from the hub, and checks what is there of it already. */
import type { Command } from 'commander';
import { isOffline } from '../hub/http.ts';
import { parseHubName } from '../hub/name.ts';
import { pull } from '../hub/pull.ts';
import { usageError } from './failure.ts';
import { showingPull } from './hub-pulling.ts';
import { withInterrupt } from './interrupt.ts';
import { formatBytes } from './report.ts';

export function addPull(program: Command): void {
  program
    .command('pull')
    .summary('fetch a model from the hub')
    .description(
      'Fetches a model, or what is missing of it, checks all of its files by their hashes and prints where it lies. hf:org/repo is ' +
        'the folder of a repository with safetensors, or its GGUF file in Q4_K_M, or its only one. HF_TOKEN is used for what is not ' +
        'public; HF_ENDPOINT names another hub, HF_HUB_CACHE another folder.',
    )
    .argument('<name>', 'hf:org/repo, hf:org/repo:file.gguf, or hf:org/repo:Q4_K_M')
    .action(async (text: string) => {
      const name = parseHubName(text);
      if (isOffline() || program.opts<{ offline?: boolean }>().offline)
        throw usageError('pull has to ask the hub; this is offline');
      const { path, commit, bytes, fetchedBytes } = await withInterrupt((signal) =>
        showingPull(name, (hooks) => pull(name, { signal, ...hooks })),
      );
      console.error(
        `${text}: ${formatBytes(bytes)}, ${formatBytes(fetchedBytes)} fetched, commit ${commit.slice(0, 12)}`,
      );
      console.log(path);
    });
}
