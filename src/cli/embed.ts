/** `ingot embed MODEL`: the vector of each line of standard input, as a line of JSON. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { openEngine } from '../engine/open-node.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { withInterrupt } from './interrupt.ts';
import { kvOption } from './options.ts';
import { showProgress } from './progress.ts';

export function addEmbed(program: Command): void {
  program
    .command('embed')
    .summary('turn texts into vectors')
    .description(
      'Reads texts from standard input, one a line, and prints the vector of each, of length 1, as a JSON array a line. ' +
        'For models that embed texts: BERT and its kin, Qwen3-Embedding.',
    )
    .argument('<model>', 'a GGUF file or a Hugging Face folder')
    .option('--device <name>', 'where to compute: cpu or reference (default: the first that can be used)')
    .addOption(kvOption())
    .action(async (model: string, options: EmbedOptions) => {
      await withInterrupt((signal) => embed(model, options, signal));
    });
}

interface EmbedOptions {
  readonly device?: string;
  readonly kv: KvFormat;
}

async function embed(model: string, { device, kv }: EmbedOptions, signal: AbortSignal): Promise<void> {
  await using engine = await open();
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(Array.from(await engine.embed(line, signal))));
  }

  async function open() {
    using progress = showProgress('Loading');
    return await openEngine(model, {
      kv,
      signal,
      onProgress: progress.update,
      ...(device !== undefined && { device }),
    });
  }
}
