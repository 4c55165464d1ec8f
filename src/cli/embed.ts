/** `ingot embed MODEL`: the vector of each line of standard input, as a line of JSON. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { openEngine } from '../engine/open-node.ts';
import { withInterrupt } from './interrupt.ts';
import { addEngineOptions, type EngineFlags, engineSettings, refuseReplicas } from './options.ts';
import { showProgress } from './progress.ts';

export function addEmbed(program: Command): void {
  const command = program
    .command('embed')
    .summary('turn texts into vectors')
    .description(
      'Reads texts from standard input, one a line, and prints the vector of each, of length 1, as a JSON array a line. ' +
        'For models that embed texts: BERT and its kin, Qwen3-Embedding.',
    )
    .argument('<model>', 'a GGUF file or a Hugging Face folder');
  addEngineOptions(command).action(async (model: string, options: EngineFlags) => {
    refuseReplicas(options, 'embed');
    await withInterrupt((signal) => embed(model, options, signal));
  });
}

async function embed(model: string, options: EngineFlags, signal: AbortSignal): Promise<void> {
  await using engine = await open();
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(Array.from(await engine.embed(line, signal))));
  }

  async function open() {
    using progress = showProgress('Loading');
    return await openEngine(model, { ...engineSettings(options), signal, onProgress: progress.update });
  }
}
