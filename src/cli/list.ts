/** `ingot list`: the models that are in the cache. */
import type { Command } from 'commander';
import { cachedRepositories, hubCacheFolder } from '../hub/cache.ts';
import { cachedModels } from '../hub/contents.ts';
import { formatBytes, formatTable } from './report.ts';

export function addList(program: Command): void {
  program
    .command('list')
    .summary('show the models that were fetched')
    .description(
      "Shows the models in the cache, which is shared with Hugging Face's own tools: those that Ingot can open.",
    )
    .option('--json', 'print them as JSON')
    .action(async (options: { readonly json?: boolean }) => {
      const models = (await Promise.all((await cachedRepositories()).map(cachedModels))).flat();
      if (options.json) {
        console.log(JSON.stringify(models, undefined, 2));
      } else if (models.length === 0) {
        console.error(`There are no models in ${hubCacheFolder()}.`);
      } else {
        const rows = models.map(({ name, bytes, state, commit }) => [
          name,
          formatBytes(bytes),
          state,
          commit?.slice(0, 12) ?? '',
        ]);
        console.log(formatTable([['model', 'size', 'state', 'commit'], ...rows]));
      }
    });
}
