/** What programs import from 'ingot'. */
export { type ErrorCode, IngotError, isIngotError } from './base/errors.ts';
export { type CompileOptions, compile } from './compiler/compile.ts';
export type { Bound, Device, DeviceBuffer, Executable } from './devices/device.ts';
export { type DeviceOptions, openDevice } from './devices/open-node.ts';
export { createReferenceDevice } from './devices/reference/device.ts';
export { type Answer, type AnswerOptions, Engine, type LoadOptions } from './engine/api-node.ts';
export type {
  EngineOptions,
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  LoadHooks,
  Prompt,
  ScoreOptions,
  TokenLogprob,
} from './engine/engine.ts';
export { LocalEngine, type LocalEngineOptions } from './engine/local-engine.ts';
export type { SamplingParameters } from './engine/sampling.ts';
export type { Statistics } from './engine/statistics.ts';
export type { Checkpoint } from './formats/checkpoint.ts';
export { openCheckpoint } from './formats/open-node.ts';
export { type Module, parseModule, programOf } from './ir/mlir/parse.ts';
export { printProgram } from './ir/mlir/print.ts';
export type { Program } from './ir/program.ts';
export { openModel } from './models/architectures.ts';
export type { Model } from './models/model.ts';
export type { ChatMessage } from './tokenizer/chat.ts';
export type { Conversation } from './tokenizer/conversation.ts';
export { loadTokenizer, type TokenizerSource } from './tokenizer/load.ts';
export type { Tokenizer } from './tokenizer/tokenizer.ts';
