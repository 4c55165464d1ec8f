/**
 * How long llama.cpp takes to quantize a GGUF file: `node dist/bench/llama-quantize.js FOLDER IN.gguf OUT.gguf TYPE [THREADS]`, beside
 * `ingot quantize IN.gguf OUT.gguf --type TYPE -t THREADS`. FOLDER as for llama-perplexity.ts.
 */
import { fileTypeNamed, fileTypeNumber } from '../src/models/file-types.ts';
import { quantizeWithLlamaCpp } from './llama-cpp.ts';

const [folder, path, out, name = '', threads = '2'] = process.argv.slice(2);
const type = fileTypeNamed(name);
if (folder === undefined || path === undefined || out === undefined || type === undefined) {
  console.error('usage: node dist/bench/llama-quantize.js FOLDER IN.gguf OUT.gguf TYPE [THREADS]');
  process.exit(2);
}
const begin = performance.now();
const before = process.cpuUsage();
quantizeWithLlamaCpp(folder, path, out, fileTypeNumber(type), Number(threads));
const { user, system } = process.cpuUsage(before);
const seconds = (performance.now() - begin) / 1000;
console.log(`${type}: ${seconds.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of processors`);
process.exit(0);
