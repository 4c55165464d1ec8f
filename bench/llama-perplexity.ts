/**
 * The perplexity that llama.cpp gives a GGUF file on a text, by the rule of its own tool (windows of the context, the second half
 * of each scored), for comparison with `ingot eval`: `node dist/bench/llama-perplexity.js FOLDER MODEL.gguf TEXT [CONTEXT]`.
 * FOLDER holds llama.cpp's shared libraries, as the packages @node-llama-cpp/linux-x64 bring them (`bins/linux-x64`); the text is cut
 * into tokens by them too.
 */
import { readFileSync } from 'node:fs';
import { openLlamaCpp } from './llama-cpp.ts';

const [folder, modelPath, textPath, contextText = '512'] = process.argv.slice(2);
if (folder === undefined || modelPath === undefined || textPath === undefined) {
  console.error('usage: node dist/bench/llama-perplexity.js FOLDER MODEL.gguf TEXT [CONTEXT]');
  process.exit(2);
}
const length = Number(contextText);
// More threads wait for each other in a loop, which is slow beside other work.
const llama = openLlamaCpp(folder, modelPath, { tokens: length, sequences: 1, threads: 1, batch: length });
const ids = llama.tokenize(readFileSync(textPath));
const first = Math.floor(length / 2);

let [sum, count] = [0, 0];
for (let start = 0; start + length <= ids.length; start += length) {
  const window = ids.slice(start, start + length);
  if (llama.begin !== undefined) window[0] = llama.begin;
  llama.clear();
  llama.decode(Array.from(window, (id, position) => ({ id, position, sequence: 0, wantsLogits: position >= first })));
  for (let i = first; i < length - 1; i++) {
    const logits = llama.logits(i);
    const max = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((all, logit) => all + Math.exp(logit - max), 0);
    sum -= logits[window[i + 1]] - max - Math.log(total);
    count++;
  }
  if (process.stderr.isTTY) process.stderr.write(`\r${start + length} of ${ids.length} tokens`);
}
console.log(`Perplexity ${Math.exp(sum / count).toFixed(4)} (${count} tokens scored, ${ids.length} in the text)`);
process.exit(0);
