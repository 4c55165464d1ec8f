/**
 * The pre-tokenizers that llama.cpp names (`llama_vocab::impl::load` in its src/llama-vocab.cpp at 00ad355e009e, November 2026),
 * texts that tell them apart, and vocabularies that show where a text is cut.
 */
import type { Metadata, MetadataValue } from '../../src/formats/checkpoint.ts';
import { spellBytes } from '../../src/tokenizer/byte-alphabet.ts';
import { type PreTokenizer, preTokenizer } from '../../src/tokenizer/pre-tokenizers.ts';
import { SPACE } from '../../src/tokenizer/spaces.ts';

/** In its order. */
export const namesOfLlamaCpp: readonly string[] = `
  default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm
  deepseek-coder deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es
  jina-v2-de a.x-4.0 mellum modern-bert jais-2 gemma4 granite-embed-multi-311m sarvam-moe jina-v1-en jina-v2-code
  roberta-bpe whitespace refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe
  poro-chat glm4 chatglm-bpe viking jais tekken smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon
  minerva-7b megrez gpt-4o llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion
  granite-docling bailingmoe bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka
  grok-2 afmoe laguna minimax-m2 solar-open mellum2`
  .trim()
  .split(/\s+/);

/** Any two pre-tokenizers that are not the same cut one of them differently. */
export const tellingTexts: readonly string[] = [
  "I'm HE'LL",
  "it'sx",
  'a1234567',
  'x  12 3',
  'a  b   c',
  'c \n\n  d',
  'x\r\n\r\ny \t z\n',
  'f_b(z);//\n\n',
  'a!/\n',
  'HiABcDE x',
  'a.b!c? (d)|',
  '$+<=>^~|`"',
  '          e',
  '1,234,567.89',
  '日本テスト',
  '한국 안녕a',
  '你好，世界！a',
  'naïve Größe',
  '١٢٣٤٥ ½Ⅷ',
  'don’t… “q”',
  'ΑΒγ При',
  'शक्ति',
  '👍🏽 😀',
  'IMGIMGABZ',
  '<sentinel:1>',
];

/** A token that no merge makes. */
export const unmergedToken = 'qz';

/**
 * A vocabulary for the texts, as GGUF says it: every stretch of characters is a token, and any two neighbours merge. So each
 * piece becomes one token, whatever the order of merges.
 */
export function tellingVocabulary(pre: string): Metadata {
  const { symbols } = preTokenizer(pre);
  const tokens = new Set<string>();
  const inside = new Set<string>();
  const merges = new Set<string>();
  for (const letters of tellingTexts.flatMap((text) => lettersOf(text, symbols))) {
    // A letter is one symbol, or several, which merge from its first on and before anything else.
    for (const units of letters.map((letter) => Array.from(letter))) {
      for (const [i, unit] of units.entries()) {
        const before = units.slice(0, i).join('');
        tokens.add(unit).add(before + unit);
        if (i > 0) inside.add(`${before} ${unit}`);
      }
    }
    const stretch = (start: number, end: number) => letters.slice(start, end).join('');
    for (let end = 2; end <= letters.length; end++) {
      for (let start = 0; start < end; start++) {
        tokens.add(stretch(start, end));
        for (let cut = start + 1; cut < end; cut++) merges.add(`${stretch(start, cut)} ${stretch(cut, end)}`);
      }
    }
  }
  for (const token of ['q', 'z', unmergedToken]) tokens.add(token);
  return new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', symbols === 'wordCharacters' ? 'whitespace' : 'gpt2'],
    ['tokenizer.ggml.pre', pre],
    ['tokenizer.ggml.tokens', [...tokens, '<|end|>']],
    ['tokenizer.ggml.token_type', Int32Array.from({ length: tokens.size + 1 }, (_, id) => (id < tokens.size ? 1 : 3))],
    ['tokenizer.ggml.merges', [...inside, ...merges]],
    ['tokenizer.ggml.bos_token_id', tokens.size],
    ['tokenizer.ggml.eos_token_id', tokens.size],
  ]);
}

/** As the vocabulary spells them. */
function lettersOf(text: string, symbols: PreTokenizer['symbols']): string[][] {
  switch (symbols) {
    case 'bytes':
      return [Array.from(text, (letter) => spellBytes(new TextEncoder().encode(letter)))];
    case 'characters':
      return [Array.from(text.replaceAll(' ', SPACE))];
    case 'wordCharacters':
      return text.split(/\s+/).map((word) => Array.from(word));
    default:
      return symbols satisfies never;
  }
}
