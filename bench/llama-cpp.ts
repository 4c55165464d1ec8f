/**
 * llama.cpp's C interface (llama.h) as far as the measurements here need it, from its shared libraries as the packages
 * `@node-llama-cpp/linux-x64` and others bring them (`bins/linux-x64`). Which of its processor variants is used is its choice among those in
 * the folder.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';

export interface ContextSize {
  /** Tokens of all sequences together. */
  readonly tokens: number;
  readonly sequences: number;
  readonly threads: number;
  /** Tokens of one call of `decode` at most. */
  readonly batch: number;
  /** llama.cpp chooses if it is absent. */
  readonly flashAttention?: boolean;
}

export interface BatchToken {
  readonly id: number;
  readonly position: number;
  readonly sequence: number;
  readonly wantsLogits: boolean;
}

export interface LlamaCpp {
  readonly vocabularySize: number;
  /** The token that begins a text, if the model wants one. */
  readonly begin: number | undefined;
  tokenize(text: Uint8Array): Int32Array;
  decode(tokens: readonly BatchToken[]): void;
  /** Logits of the token at this index of the last call. */
  logits(index: number): Float32Array;
  /** Forgets all sequences. */
  clear(): void;
  /** Forgets what of a sequence stands at a position or behind it. */
  forget(sequence: number, position: number): void;
}

/** llama.h's library, silent, with what computes for it. @throws Error if the folder lacks it. */
function openLibrary(folder: string) {
  const library = (name: string) => {
    const file = readdirSync(folder).find((one) => one.startsWith(name) && one.includes('.so'));
    if (file === undefined) throw new Error(`${folder} holds no ${name}`);
    return koffi.load(join(folder, file));
  };
  const ggml = library('libggml.');
  const lib = library('libllama.');
  const logLevel = koffi.proto('void Log(int32 level, str text, void *data)');
  const silence = koffi.register(() => {}, koffi.pointer(logLevel));
  lib.func('void llama_log_set(Log *callback, void *data)')(silence, null);
  ggml.func('void ggml_backend_load_all_from_path(str folder)')(folder);
  return lib;
}

/** Writes a GGUF file in `type`, llama.cpp's number of it. @throws Error if it cannot. */
export function quantizeWithLlamaCpp(folder: string, path: string, out: string, type: number, threads: number): void {
  const lib = openLibrary(folder);
  koffi.struct('QuantizeParameters', { nthread: 'int32', ftype: 'int32', bytes: koffi.array('uint8', 512) });
  const parameters = {
    ...lib.func('QuantizeParameters llama_model_quantize_default_params()')(),
    ...{ nthread: threads, ftype: type },
  };
  const quantize = lib.func('uint32 llama_model_quantize(str path, str out, const QuantizeParameters *parameters)');
  const failed = quantize(path, out, parameters);
  if (failed !== 0) throw new Error(`llama_model_quantize: ${failed}`);
}

/** @throws Error if the folder lacks a library or the model cannot be loaded. */
export function openLlamaCpp(folder: string, path: string, size: ContextSize): LlamaCpp {
  const lib = openLibrary(folder);
  // Parameters by value, of which the first fields are known and the rest is as the library fills it.
  koffi.struct('ModelParameters', { bytes: koffi.array('uint8', 512) });
  koffi.struct('ContextParameters', {
    n_ctx: 'uint32',
    n_batch: 'uint32',
    n_ubatch: 'uint32',
    n_seq_max: 'uint32',
    sizes: koffi.array('uint32', 3),
    n_threads: 'int32',
    n_threads_batch: 'int32',
    context_type: 'int32',
    rope_scaling_type: 'int32',
    pooling_type: 'int32',
    attention_type: 'int32',
    flash_attn_type: 'int32',
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
  const model = lib.func('void *llama_model_load_from_file(str path, ModelParameters parameters)')(
    path,
    lib.func('ModelParameters llama_model_default_params()')(),
  );
  const defaults = lib.func('ContextParameters llama_context_default_params()')();
  // -1: llama.cpp chooses. Another value stands there where the structure has changed.
  if (defaults.flash_attn_type !== -1 || defaults.attention_type !== -1)
    throw new Error('llama.h has changed: its llama_context_params are others than those known here');
  const context = lib.func('void *llama_init_from_model(void *model, ContextParameters parameters)')(model, {
    ...defaults,
    ...(size.flashAttention !== undefined && { flash_attn_type: Number(size.flashAttention) }),
    n_ctx: size.tokens,
    n_batch: size.batch,
    n_ubatch: size.batch,
    n_seq_max: size.sequences,
  });
  if (model === null || context === null) throw new Error(`llama.cpp cannot load ${path}`);
  lib.func('void llama_set_n_threads(void *context, int32 decode, int32 batch)')(context, size.threads, size.threads);
  const vocabulary = lib.func('void *llama_model_get_vocab(void *model)')(model);
  const vocabularySize: number = lib.func('int32 llama_vocab_n_tokens(void *vocabulary)')(vocabulary);
  const tokenize = lib.func(
    'int32 llama_tokenize(void *vocabulary, void *text, int32 length, _Out_ int32 *tokens, int32 room, bool special, bool parse)',
  );
  const decode = lib.func('int32 llama_decode(void *context, Batch batch)');
  const memory = lib.func('void *llama_get_memory(void *context)')(context);
  const clear = lib.func('void llama_memory_clear(void *memory, bool data)');
  const remove = lib.func('bool llama_memory_seq_rm(void *memory, int32 sequence, int32 from, int32 to)');
  const logitsOf = lib.func('void *llama_get_logits_ith(void *context, int32 index)');
  const addsBegin: boolean = lib.func('bool llama_vocab_get_add_bos(void *vocabulary)')(vocabulary);

  // Each token names its sequence by a pointer to it.
  const names = koffi.alloc('int32', size.sequences);
  for (let i = 0; i < size.sequences; i++) koffi.encode(names, 4 * i, 'int32', i);
  const sequences = koffi.alloc('void *', size.batch);
  const nameOf = (sequence: number) => koffi.address(names) + BigInt(4 * sequence);

  return {
    vocabularySize,
    begin: addsBegin ? lib.func('int32 llama_vocab_bos(void *vocabulary)')(vocabulary) : undefined,
    tokenize(text) {
      const room = new Int32Array(text.length + 8);
      return room.subarray(0, tokenize(vocabulary, text, text.length, room, room.length, true, false));
    },
    decode(tokens) {
      tokens.forEach(({ sequence }, i) => {
        koffi.encode(sequences, 8 * i, 'uint64', nameOf(sequence));
      });
      const failed = decode(context, {
        n_tokens: tokens.length,
        token: Int32Array.from(tokens, ({ id }) => id),
        embd: null,
        pos: Int32Array.from(tokens, ({ position }) => position),
        n_seq_id: new Int32Array(tokens.length).fill(1),
        seq_id: sequences,
        logits: Int8Array.from(tokens, ({ wantsLogits }) => Number(wantsLogits)),
      });
      if (failed !== 0) throw new Error(`llama_decode: ${failed}`);
    },
    logits: (index) => koffi.decode(logitsOf(context, index), koffi.array('float', vocabularySize, 'Typed')),
    clear: () => clear(memory, true),
    forget: (sequence, position) => remove(memory, sequence, position, -1),
  };
}
