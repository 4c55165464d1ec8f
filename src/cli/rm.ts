/** `ingot rm NAME`: removes a model from the cache. */
import type { Command } from 'commander';
import { CachedRepository } from '../hub/cache.ts';
import { removeModel } from '../hub/contents.ts';
import { parseHubName } from '../hub/name.ts';
import { formatBytes } from './report.ts';

export function addRm(program: Command): void {
  program
    .command('rm')
    .summary('remove a fetched model')
    .description(
      "Removes a model, or all that was fetched of a repository, from the cache, which is shared with Hugging Face's own tools.",
    )
    .argument('<name>', 'hf:org/repo for all of it, hf:org/repo:file.gguf, or hf:org/repo:Q4_K_M')
    .action(async (text: string) => {
      const name = parseHubName(text);
      const bytes = await removeModel(new CachedRepository(name.repo), name);
      console.error(`${text}: ${formatBytes(bytes)} freed`);
    });
}
