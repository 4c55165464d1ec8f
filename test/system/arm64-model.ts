/** What the bundled model writes on the CPU device with two threads, as JSON: run by arm64.test.ts on both architectures. */
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { repositoryPath } from '../fixtures.ts';

const found = findSystem();
if (!found.usable) throw new Error(found.reason);
await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
const model = openModel(checkpoint);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
await using device = createCpuDevice(found.system, { threads: 2 });
await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength: 64, numerics: 'exact' });
const sampling = { temperature: 0.9, topK: 40, topP: 0.95, minP: 0.05, seed: 5n };
const tokens: (readonly [number, number])[] = [];
for await (const event of engine.generate({
  prompt: tokenizer.encode('Once upon a time there was'),
  maxTokens: 6,
  sampling,
})) {
  if (event.kind === 'token') tokens.push([event.id, event.logprob]);
}
console.log(JSON.stringify({ architecture: process.arch, tokens }));
