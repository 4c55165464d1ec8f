/**
 * The perplexity that llama.cpp gives a GGUF file on a text, by the rule of its own tool (windows of the context, the second half
 * of each scored), for comparison with `ingot eval`: `node dist/bench/llama-perplexity.js FOLDER MODEL.gguf TEXT [CONTEXT]`.
 * FOLDER holds llama.cpp's shared libraries, as the packages @node-llama-cpp/linux-x64 bring them (`bins/linux-x64`); the text is cut
 * into tokens by them too.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';

const [folder, modelPath, textPath, contextText = '512'] = process.argv.slice(2);
if (folder === undefined || modelPath === undefined || textPath === undefined) {
  console.error('usage: node dist/bench/llama-perplexity.js FOLDER MODEL.gguf TEXT [CONTEXT]');
  process.exit(2);
}
const length = Number(contextText);

function library(name: string) {
  const file = readdirSync(folder).find((one) => one.startsWith(name) && one.includes('.so'));
  if (file === undefined) throw new Error(`${folder} holds no ${name}`);
  return koffi.load(join(folder, file));
}

// Parameters by value, of which the first fields are known and the rest is as the library fills it: llama.h.
koffi.struct('ModelParameters', { bytes: koffi.array('uint8', 512) });
koffi.struct('ContextParameters', {
  n_ctx: 'uint32',
  n_batch: 'uint32',
  n_ubatch: 'uint32',
  bytes: koffi.array('uint8', 512),
});
koffi.struct('Batch', {
  n_tokens: 'int32',
  token: 'int32 *',
  embd: 'void *',
  pos: 'int32 *',
  n_seq_id: 'int32 *',
  seq_id: 'void *',
  logits: 'int8 *',
});
const ggml = library('libggml.');
const lib = library('libllama.');
const loadBackends = ggml.func('void ggml_backend_load_all_from_path(str folder)');
const modelDefaults = lib.func('ModelParameters llama_model_default_params()');
const contextDefaults = lib.func('ContextParameters llama_context_default_params()');
const loadModel = lib.func('void *llama_model_load_from_file(str path, ModelParameters parameters)');
const newContext = lib.func('void *llama_init_from_model(void *model, ContextParameters parameters)');
const getVocabulary = lib.func('void *llama_model_get_vocab(void *model)');
const vocabularySize = lib.func('int32 llama_vocab_n_tokens(void *vocabulary)');
const addsBegin = lib.func('bool llama_vocab_get_add_bos(void *vocabulary)');
const beginOf = lib.func('int32 llama_vocab_bos(void *vocabulary)');
const tokenize = lib.func(
  'int32 llama_tokenize(void *vocabulary, void *text, int32 length, _Out_ int32 *tokens, int32 room, bool special, bool parse)',
);
const decode = lib.func('int32 llama_decode(void *context, Batch batch)');
const memoryOf = lib.func('void *llama_get_memory(void *context)');
const clear = lib.func('void llama_memory_clear(void *memory, bool data)');
const logitsOf = lib.func('void *llama_get_logits_ith(void *context, int32 index)');
const logLevel = koffi.proto('void Log(int32 level, str text, void *data)');
const silence = koffi.register(() => {}, koffi.pointer(logLevel));
lib.func('void llama_log_set(Log *callback, void *data)')(silence, null);

loadBackends(folder);
const model = loadModel(modelPath, modelDefaults());
const parameters = { ...contextDefaults(), n_ctx: length, n_batch: length, n_ubatch: length };
const context = newContext(model, parameters);
if (model === null || context === null) throw new Error(`llama.cpp cannot load ${modelPath}`);
// More threads wait for each other in a loop, which is slow beside other work.
lib.func('void llama_set_n_threads(void *context, int32 decode, int32 batch)')(context, 1, 1);
const vocabulary = getVocabulary(model);
const size: number = vocabularySize(vocabulary);

const text = readFileSync(textPath);
const room = new Int32Array(text.length + 8);
const ids = room.subarray(0, tokenize(vocabulary, text, text.length, room, room.length, true, false));
const first = Math.floor(length / 2);
// One sequence, 0, for every token.
const zero = koffi.alloc('int32', 1);
koffi.encode(zero, 'int32', 0);
const sequences = koffi.alloc('void *', length);
for (let i = 0; i < length; i++) koffi.encode(sequences, 8 * i, 'void *', zero);

let [sum, count] = [0, 0];
for (let start = 0; start + length <= ids.length; start += length) {
  const window = ids.slice(start, start + length);
  if (addsBegin(vocabulary)) window[0] = beginOf(vocabulary);
  clear(memoryOf(context), true);
  const failed = decode(context, {
    n_tokens: length,
    token: window,
    embd: null,
    pos: Int32Array.from(window.keys()),
    n_seq_id: new Int32Array(length).fill(1),
    seq_id: sequences,
    logits: Int8Array.from(window, (_, i) => Number(i >= first)),
  });
  if (failed !== 0) throw new Error(`llama_decode: ${failed}`);
  for (let i = first; i < length - 1; i++) {
    const logits: Float32Array = koffi.decode(logitsOf(context, i), koffi.array('float', size, 'Typed'));
    const max = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((all, logit) => all + Math.exp(logit - max), 0);
    sum -= logits[window[i + 1]] - max - Math.log(total);
    count++;
  }
  if (process.stderr.isTTY) process.stderr.write(`\r${start + length} of ${ids.length} tokens`);
}
console.log(`Perplexity ${Math.exp(sum / count).toFixed(4)} (${count} tokens scored, ${ids.length} in the text)`);
process.exit(0);
