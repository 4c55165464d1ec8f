/**
 * How far llama.cpp and Ingot are from the same GGUF file computed in f32, by the reference device: mean Kullback-Leibler divergence of
 * what each says about the next token, and perplexities with their distance from that in f32 and its standard error, over windows of a
 * text of which the second half is scored:
 * `node dist/bench/llama-divergence.js FOLDER MODEL.gguf TEXT [CONTEXT] [WINDOWS]`. FOLDER as for llama-perplexity.ts.
 */
import { readFileSync } from 'node:fs';
import { klDivergence, logProbabilities } from '../src/cli/eval-divergence.ts';
import { halfWindows } from '../src/cli/eval-perplexity.ts';
import { openDevice } from '../src/devices/open-node.ts';
import { LocalEngine, type LocalEngineOptions } from '../src/engine/local-engine.ts';
import { openForRunning } from '../src/engine/open-model-node.ts';
import { openLlamaCpp } from './llama-cpp.ts';

const [folder, modelPath, textPath, contextText = '128', windowsText = '4'] = process.argv.slice(2);
if (folder === undefined || modelPath === undefined || textPath === undefined) {
  console.error('usage: node dist/bench/llama-divergence.js FOLDER MODEL.gguf TEXT [CONTEXT] [WINDOWS]');
  process.exit(2);
}
const length = Number(contextText);
const llama = openLlamaCpp(folder, modelPath, { tokens: length, sequences: 1, threads: 1, batch: length });
await using opened = await openForRunning(modelPath);
const { model, tokenizer } = opened;
const ids = [...llama.tokenize(readFileSync(textPath))];
const windows = halfWindows(ids, length, llama.begin).slice(0, Number(windowsText));

const load = async (device: 'cpu' | 'reference', numerics: NonNullable<LocalEngineOptions['numerics']>) =>
  await LocalEngine.load(await openDevice(device), model, tokenizer, { contextLength: length, numerics });
await using reference = await load('reference', 'exact');
await using exact = await load('cpu', 'exact');
await using fast = await load('cpu', 'fast');

const names = ['f32', 'exact', 'fast', 'llama.cpp'] as const;
const sums = names.map(() => ({ kl: 0, nll: 0, apart: 0, apartSquared: 0 }));
let count = 0;
for (const { tokens, first } of windows) {
  llama.clear();
  llama.decode(tokens.map((id, position) => ({ id, position, sequence: 0, wantsLogits: position >= first - 1 })));
  const rows = [];
  for (const engine of [reference, exact, fast]) rows.push(await engine.logits(tokens, { first }));
  for (let at = first; at < tokens.length; at++) {
    const row = (at - first) * model.vocabularySize;
    const ours = rows.map((each) => each.subarray(row, row + model.vocabularySize));
    const all = [...ours, llama.logits(at - 1)].map(logProbabilities);
    for (const [i, { values }] of all.entries()) {
      sums[i].kl += klDivergence(all[0].values, values);
      sums[i].nll -= values[tokens[at]];
      const apart = all[0].values[tokens[at]] - values[tokens[at]];
      sums[i].apart += apart;
      sums[i].apartSquared += apart ** 2;
    }
    count++;
  }
}
for (const [i, { kl, nll, apart, apartSquared }] of sums.entries()) {
  const mean = apart / count;
  const error = Math.sqrt((apartSquared / count - mean ** 2) / count);
  console.log(
    `${names[i].padEnd(10)} KL ${(kl / count).toExponential(2)}  perplexity ${Math.exp(nll / count).toFixed(4)}, ${(100 * Math.expm1(mean)).toFixed(2)}% (+-${(100 * error).toFixed(2)})`,
  );
}
console.log(`${count} tokens scored`);
process.exit(0);
