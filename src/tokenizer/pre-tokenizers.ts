/**
 * How text is cut before byte-pair merges, by the name that GGUF gives in `tokenizer.ggml.pre` (`llama-vocab.cpp` of llama.cpp
 * names them). The patterns are those of the models' own tokenizers where llama.cpp has others that mean the same.
 */
import { IngotError } from '../base/errors.ts';
import { type Cut, cutAt, inTurn } from './cut.ts';
import { finder, knownPatterns as known } from './patterns.ts';

export interface PreTokenizer {
  /** Applied one after the other: each cuts the pieces that the one before left into its matches and what lies between. */
  readonly patterns: readonly string[];
  /** A piece that is a token as it stands is not merged; or only a run of newlines is not. */
  readonly wholeTokens: boolean | 'newlines';
  readonly addBos: boolean;
  /**
   * Symbols are the bytes of a text; its characters, with spaces written U+2581; or those of its words, the stretches without
   * white space, which is dropped.
   */
  readonly symbols: 'bytes' | 'characters' | 'wordCharacters';
}

function row(
  patterns: readonly string[],
  names: readonly string[],
  { wholeTokens = false, addBos = false, symbols = 'bytes' }: Partial<PreTokenizer> = {},
): (readonly [name: string, row: PreTokenizer])[] {
  return names.map((name) => [name, { patterns, wholeTokens, addBos, symbols }]);
}

const deepseekLetters =
  '\\s?[A-Za-z\\u00B5\\u00C0-\\u00D6\\u00D8-\\u00F6\\u00F8-\\u01BA\\u01BC-\\u01BF\\u01C4-\\u0293\\u0295-\\u02AF\\u0370-\\u0373\\u0376\\u0377\\u037B-\\u037D\\u037F\\u0386\\u0388-\\u038A\\u038C\\u038E-\\u03A1\\u03A3-\\u03F5\\u03F7-\\u0481\\u048A-\\u052F\\u0531-\\u0556\\u10A0-\\u10C5\\u13A0-\\u13F5\\u13F8-\\u13FD\\u1C90-\\u1CBA\\u1CBD-\\u1CBF\\u1D00-\\u1D2B\\u1D6B-\\u1D77\\u1D79-\\u1D9A\\u1E00-\\u1F15\\u1F18-\\u1F1D\\u1F20-\\u1F45\\u1F48-\\u1F4D\\u1F50-\\u1F57\\u1F59\\u1F5B\\u1F5D\\u1F5F-\\u1F7D\\u1F80-\\u1FB4\\u1FB6-\\u1FBC\\u1FBE\\u1FC2-\\u1FC4\\u1FC6-\\u1FCC\\u1FD0-\\u1FD3\\u1FD6-\\u1FDB\\u1FE0-\\u1FEC\\u1FF2-\\u1FF4\\u1FF6-\\u1FFC\\u2102\\u2107\\u210A-\\u2113\\u2115\\u2119-\\u211D\\u2124\\u2126\\u2128\\u212A-\\u212D\\u212F-\\u2134\\u2139\\u213C-\\u213F\\u2145-\\u2149\\u214E\\u2183\\u2184\\u2C00-\\u2C7B\\u2C7E-\\u2CE4\\u2CEB-\\u2CEE\\u2CF2\\u2CF3\\uA640-\\uA66D\\uA680-\\uA69B\\uA722-\\uA76F\\uA771-\\uA787\\uA78B-\\uA78E\\uAB70-\\uABBF\\uFB00-\\uFB06\\uFB13-\\uFB17\\uFF21-\\uFF3A\\uFF41-\\uFF5A\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+';
const kimi = (class_: string) => `[${class_}&&[^\\p{Han}]]`;
const [kimiUpper, kimiLower] = [kimi('\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}'), kimi('\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}')];
const endings = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const spaces = [512, 256, 128, 64, 32, 16, 8, 4].map((count) => `\\s{${count}}(?!\\S)|`).join('');

const rows: ReadonlyMap<string, PreTokenizer> = new Map([
  ...row([known.punctuation, known.gpt2, known.digits, known.threeAsciiDigits], ['default']),
  ...row(
    [known.gpt2],
    [
      'gpt-2',
      'mpt',
      'olmo',
      'jais',
      'trillion',
      'granite-docling',
      'phi-2',
      'jina-es',
      'jina-de',
      'jina-v2-es',
      'jina-v2-de',
      'jina-v1-en',
      'jina-v2-code',
      'roberta-bpe',
      'gigachat',
      'a.x-4.0',
      'mellum',
      'modern-bert',
      'exaone4',
    ],
  ),
  ...row(
    [known.llama3],
    ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2', 'jina-v5-nano'],
    { wholeTokens: true, addBos: true },
  ),
  ...row([known.llama3], ['dbrx', 'smaug-bpe', 'glm4', 'chatglm-bpe']),
  ...row(
    [known.qwen2],
    ['qwen2', 'stablelm2', 'hunyuan', 'solar-open', 'deepseek-r1-qwen', 'kormo', 'f2llmv2', 'megrez', 'grok-2'],
  ),
  ...row([known.qwen35], ['qwen35']),
  ...row([known.withoutContractions], ['ufakzeka']),
  ...row([known.lines, known.qwen2], ['laguna']),
  ...row([known.threeDigits, known.minicpm5], ['minicpm5'], { wholeTokens: true }),
  ...row(
    [known.digit, known.gpt2],
    ['starcoder', 'refact', 'command-r', 'smollm', 'codeshell', 'exaone', 'minerva-7b', 'mellum2'],
  ),
  ...row([known.falconPunctuation, known.gpt2, known.threeAsciiDigits], ['falcon']),
  ...row(
    [
      known.newline,
      deepseekLetters,
      '\\s?[!-/:-~\\uFF01-\\uFF0F\\uFF1A-\\uFF5E\\u2018-\\u201F\\u3000-\\u3002]+',
      '\\s+$',
      known.hanAndHangul,
      known.digits,
    ],
    ['deepseek-llm'],
  ),
  ...row(
    [known.newline, known.spacedLetters, known.spacedPunctuation, known.hanAndHangul, known.digit],
    ['deepseek-coder'],
  ),
  ...row(
    [known.threeDigits, known.hanAndKana, known.deepseek3],
    ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'],
  ),
  ...row([known.threeDigits, known.hanAndKana, known.spark, known.digit], ['spark2_5']),
  ...row(
    [
      '[\\uAC00-\\uD7A3\\u3131-\\u318E]+|[\\uFF01\\u2026\\u201C\\u201D\\u2018\\u2019\\u2014\\uFF1A\\uFF1B\\uFF0C\\u3001-\\u303F\\uFE30-\\uFE4F]+|[\\u3105-\\u312F]+|[\\u4E00-\\u9FA5\\u3040-\\u309F\\u30A0-\\u30FF]+',
      known.casedSingleDigits,
    ],
    ['youtu'],
    { wholeTokens: true },
  ),
  ...row([known.bloom], ['bloom', 'poro-chat', 'gpt3-finnish']),
  ...row([known.bloom, known.digit], ['viking']),
  ...row([known.tekken], ['tekken'], { wholeTokens: true, addBos: true }),
  ...row([known.gpt4o], ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2']),
  ...row([known.gpt4o], ['granite-embed-multi-97m'], { wholeTokens: true }),
  ...row(['\\d{1,3}(?=(?:\\d{3})*\\b)', known.gpt4o], ['tiny_aya', 'cohere2moe']),
  ...row(
    [
      '<sentinel:[0-9]+>',
      '(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z',
      '([\\t\\n]|    |  )',
      known.digit,
      '[\\p{P}!-/:-@\\[-`{-~]',
      known.gpt2,
    ],
    ['chameleon'],
    { addBos: true },
  ),
  ...row(
    [
      `[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?${kimiUpper}*${kimiLower}+${endings}|[^\\r\\n\\p{L}\\p{N}]?${kimiUpper}+${kimiLower}*${endings}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    ],
    ['kimi-k2'],
  ),
  ...row([known.digits, '(?=(\\d{3})+(?!\\d))'], ['superbpe']),
  ...row([known.bailing], ['bailingmoe', 'bailingmoe2', 'llada-moe']),
  ...row([known.seed], ['seed-coder']),
  ...row(
    [
      '\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))',
      '[\\u4E00-\\u9FFF\\u3400-\\u4DBF\\uF900-\\uFAFF\\u3040-\\u309F\\u30A0-\\u30FF\\uFF65-\\uFF9F\\u2F00-\\u2FDF\\u0E40-\\u0E7F\\u0E80-\\u0EFF\\u1780-\\u17FF\\u1000-\\u109F\\uAA60-\\uAA7F\\uA9E0-\\uA9FF\\uAC00-\\uD7AF\\u1100-\\u11FF]+',
      known.deepseek3,
    ],
    ['afmoe'],
  ),
  ...row(
    [
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    ],
    ['exaone-moe'],
  ),
  ...row(
    [
      `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|${spaces}\\s{1,2}(?!\\S)|\\s{1}`,
    ],
    ['jais-2'],
  ),
  ...row([known.lines], ['gemma4', 'granite-embed-multi-311m'], {
    wholeTokens: 'newlines',
    addBos: true,
    symbols: 'characters',
  }),
  ...row([known.lines], ['sarvam-moe'], { symbols: 'characters' }),
  ...row([], ['whitespace'], { symbols: 'wordCharacters' }),
]);

/** @throws IngotError 'UnsupportedFile' for a name that is not in the table. */
export function preTokenizer(name: string): PreTokenizer {
  const found = rows.get(name);
  if (found !== undefined) return found;
  throw new IngotError('UnsupportedFile', `unknown pre-tokenizer '${name}'`, {
    hint: `known are: ${[...rows.keys()].join(', ')}`,
  });
}

/** The name of a pre-tokenizer that cuts as this one does, if the table has one. */
export function preTokenizerName(wanted: Omit<PreTokenizer, 'addBos'>): string | undefined {
  const same = (row: PreTokenizer) =>
    row.wholeTokens === wanted.wholeTokens &&
    row.symbols === wanted.symbols &&
    row.patterns.length === wanted.patterns.length &&
    row.patterns.every((pattern, i) => pattern === wanted.patterns[i]);
  return [...rows].find(([, row]) => same(row))?.[0];
}

/** Cuts into matches and what lies between, a pattern after the other. */
export function cutByPatterns(patterns: readonly string[]): Cut {
  return inTurn(patterns.map((pattern) => cutAt(finder(pattern), 'Isolated')));
}
