/**
 * Reads the import and export statements of a TypeScript file as text. Formatting is uniform (biome), so statements start
 * their line and regular expressions are enough; comments are blanked first so that prose about imports counts for nothing.
 */

export interface Import {
  /** As written: './program.ts', 'node:fs', 'commander'. */
  readonly from: string;
  /** `import type` and `export type`: gone at run time. `import { type A }` is not: the module is still loaded. */
  readonly typeOnly: boolean;
  /** Names taken from the other module; '*' = may be any of them. */
  readonly names: readonly string[];
}

const STATEMENT = /^(import|export)(\s+type(?=\s+[{*\w]))?\s+(?:([^'";=()]*?)\s*from\s+)?'([^']+)'/gm;
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)/g;
const DECLARED =
  /^export\s+(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(const|let|function|class|interface|type)[\s*]+(\w+)/gm;
const LISTED = /^export\s+(type\s+)?\{([^}]*)\}/gm;

export function importsOf(source: string): Import[] {
  const text = withoutComments(source);
  const found: Import[] = [];
  for (const [, , type, clause, from] of text.matchAll(STATEMENT)) {
    if (from !== undefined) found.push({ from, typeOnly: type !== undefined, names: taken(clause ?? '') });
  }
  for (const [, from] of text.matchAll(DYNAMIC)) {
    if (from !== undefined) found.push({ from, typeOnly: false, names: ['*'] });
  }
  return found;
}

export interface Export {
  readonly name: string;
  /** An interface or a type alias. */
  readonly type: boolean;
}

/** What a file declares for others; `export { a } from` is an import of the other file, and listed here too. */
export function exportsOf(source: string): Export[] {
  const text = withoutComments(source);
  const found: Export[] = [];
  for (const [, kind, name] of text.matchAll(DECLARED)) {
    if (name !== undefined) found.push({ name, type: kind === 'interface' || kind === 'type' });
  }
  for (const [, type, list] of text.matchAll(LISTED)) {
    for (const name of specifiers(list ?? '')) {
      found.push({ name: name.split(/\s+as\s+/).at(-1) ?? name, type: type !== undefined });
    }
  }
  return found;
}

function taken(clause: string): string[] {
  const braces = /\{([^}]*)\}/.exec(clause);
  const names = specifiers(braces?.[1] ?? '').map((name) => name.split(/\s+as\s+/)[0] ?? name);
  const rest = clause.replace(/\{[^}]*\}/, '');
  if (rest.includes('*')) names.push('*');
  else if (/\w/.test(rest)) names.push('default');
  return names;
}

function specifiers(list: string): string[] {
  return list
    .split(',')
    .map((name) => name.trim().replace(/^type\s+/, ''))
    .filter((name) => name !== '');
}

function withoutComments(source: string): string {
  return source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
}
