/**
 * The patterns by which well-known models cut text, as their own files spell them. These run in JavaScript's matcher, which is
 * fast: each is known to take time linear in the text, and is translated by hand-checked rules. Any other pattern runs in
 * `linear-pattern.ts`, which is safe whatever the pattern.
 */
import type { Find } from './cut.ts';
import { LinearPattern } from './linear-pattern.ts';

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const symbols = ' ?[^\\s\\p{L}\\p{N}]+';
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const cased = (ending: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${ending}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${ending}`;
const llama3 = (digits: string) =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}|${symbols}[\\r\\n]*|${spaces}`;
const asciiPunctuation = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]';

export const knownPatterns = {
  gpt2: `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|${symbols}|\\s+(?!\\S)|\\s+`,
  llama3: llama3('\\p{N}{1,3}'),
  qwen2: llama3('\\p{N}'),
  minicpm5: llama3('\\p{N}+'),
  qwen35: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${spaces}`,
  withoutContractions: `[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${symbols}[\\r\\n]*|${spaces}`,
  cl100k:
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  bailing:
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  seed: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${spaces}`,
  gpt4o: `${cased(`${contractions}?`)}|\\p{N}{1,3}|${symbols}[\\r\\n/]*|${spaces}`,
  casedSingleDigits: `${cased(`${contractions}?`)}|\\p{N}|${symbols}[\\r\\n/]*|${spaces}`,
  tekken: `${cased('')}|\\p{N}|${symbols}[\\r\\n/]*|${spaces}`,
  deepseek3: `${asciiPunctuation}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${spaces}`,
  spark: `${asciiPunctuation}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+`,
  bloom: ' ?[^(\\s|.,!?…。，、।۔،)]+',
  digit: '\\p{N}',
  digits: '\\p{N}+',
  threeDigits: '\\p{N}{1,3}',
  threeAsciiDigits: '[0-9][0-9][0-9]',
  punctuation: '[\\p{P}\\$+<=>\\^~\\|]+',
  falconPunctuation: '[\\p{P}\\$\\+<=>\\^~\\|`]+',
  newline: '[\\r\\n]',
  lines: '[^\\n]+|[\\n]+',
  spacedLetters: '\\s?\\p{L}+',
  spacedPunctuation: '\\s?\\p{P}+',
  hanAndKana: '[一-龥\\u3040-ゟ゠-ヿ]+',
  hanAndHangul: '[一-龥ࠀ-一가-\\uD7FF]+',
} as const satisfies Record<string, string>;

/** How to find the matches of a pattern. @throws IngotError as `LinearPattern` does. */
export function finder(source: string): Find {
  if (!known.has(source)) {
    const pattern = new LinearPattern(source);
    return (text) => pattern.find(text);
  }
  const pattern = new RegExp(forJavaScript(source), 'gu');
  return (text) => {
    try {
      return findAll(pattern, text);
    } catch (cause) {
      // The engine's matcher has no room for pieces of some millions of characters.
      if (!(cause instanceof RangeError)) throw cause;
      return new LinearPattern(source).find(text);
    }
  };
}

const known = new Set<string>(Object.values(knownPatterns));

/**
 * What means something else there, in these patterns: `\s` is not Unicode's White_Space (U+0085, U+FEFF), case is not folded
 * as in `(?i:'s)`, where U+017F is an s, and loops are never possessive, which changes no match of these.
 */
function forJavaScript(source: string): string {
  return source
    .replaceAll(contractions, "(?:'[sS\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")
    .replaceAll('(?i:[sdmt]|ll|ve|re)', '(?:[sS\u017fdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])')
    .replaceAll('?+', '?')
    .replaceAll('++', '+')
    .replaceAll('\\s', '\\p{White_Space}')
    .replaceAll('\\S', '\\P{White_Space}');
}

function findAll(pattern: RegExp, text: string): number[] {
  const found: number[] = [];
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    found.push(match.index, pattern.lastIndex);
  }
  return found;
}
