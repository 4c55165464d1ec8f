/** The first token of llama.cpp, from the start of a process: `node first-token-llama.js FOLDER MODEL THREADS` prints it. */
import { openLlamaCpp } from '../llama-cpp.ts';

const [folder, path, threads] = process.argv.slice(2);
const llama = openLlamaCpp(folder, path, { tokens: 512, sequences: 1, threads: Number(threads), batch: 512 });
const ids = llama.tokenize(new TextEncoder().encode('Hello'));
llama.decode([...ids].map((id, position) => ({ id, position, sequence: 0, wantsLogits: position === ids.length - 1 })));
const logits = llama.logits(ids.length - 1);
console.log(logits.indexOf(logits.reduce((most, each) => Math.max(most, each))));
// Its threads would keep the process.
process.exit(0);
