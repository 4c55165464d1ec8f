/** Names of models on a hub, as users write them: `hf:org/repo`, `hf:org/repo:file.gguf`, `hf:org/repo:Q4_K_M`. */
import { IngotError } from '../base/errors.ts';

export interface HubName {
  readonly repo: string;
  /** After the second colon: the path of a file, or a quantization. */
  readonly part?: string;
}

const prefix = 'hf:';

/** A prompt may begin so, too, but holds spaces. */
export function looksLikeHubName(text: string): boolean {
  return text.startsWith(prefix) && !/\s/.test(text);
}

/** Owner and name, by the hub's rule for them: they become the name of a folder. */
const repoPattern = /^\w[\w.-]{0,95}\/\w[\w.-]{0,95}$/;

/** @throws IngotError 'Usage'. */
export function parseHubName(text: string): HubName {
  const [, repo, part] = /^hf:([^:]*)(?::(.*))?$/.exec(text) ?? [];
  if (repo === undefined || !repoPattern.test(repo) || /\.\.|--/.test(repo) || part === '') {
    throw new IngotError('Usage', `${text} is not the name of a model on the hub`, {
      hint: 'Write hf:org/repo, hf:org/repo:file.gguf or hf:org/repo:Q4_K_M.',
    });
  }
  return part === undefined ? { repo } : { repo, part };
}

export function formatHubName({ repo, part }: HubName): string {
  return `${prefix}${repo}${part === undefined ? '' : `:${part}`}`;
}

/** The name of what lies in the cache (`cache.ts`); undefined of other paths. */
export function nameOfCached(path: string): string | undefined {
  const [, org, repo, part] =
    /[/\\]models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}(?:[/\\](.+))?$/.exec(path) ?? [];
  return org === undefined ? undefined : formatHubName({ repo: `${org}/${repo}`, ...(part !== undefined && { part }) });
}
