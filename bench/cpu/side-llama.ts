/** llama.cpp's side. The settings are the first argument, in JSON. */
import type { ContextSize } from '../llama-cpp.ts';
import { LlamaWork } from '../llama-work.ts';
import { peakBytes } from '../peak.ts';
import { answerWork } from './side.ts';

export interface LlamaSettings extends Omit<ContextSize, 'batch'> {
  readonly folder: string;
  readonly path: string;
}

answerWork(async () => {
  const { folder, path, ...size } = JSON.parse(process.argv[2]) as LlamaSettings;
  const llama = new LlamaWork(folder, path, size);
  return async (work) => ({ seconds: llama.seconds(work), peakBytes: peakBytes() });
});
