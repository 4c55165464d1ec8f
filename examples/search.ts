/**
 * The lines of a file that mean what is asked for: `node search.js MODEL LINES.TXT QUESTION`, with a model that embeds texts (BERT and its kin,
 * Qwen3-Embedding). Vectors have length 1, so their product says how alike two texts are.
 */
import { readFileSync } from 'node:fs';
import { Engine } from 'ingot';

const [model, file, question] = process.argv.slice(2);
if (model === undefined || file === undefined || question === undefined) {
  throw new Error('node search.js MODEL LINES.TXT QUESTION');
}
const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);

await using engine = await Engine.load(model);
const wanted = await engine.embed(question);
const found = await Promise.all(
  lines.map(async (line) => {
    const vector = await engine.embed(line);
    return { line, likeness: vector.reduce((sum, value, i) => sum + value * (wanted[i] ?? 0), 0) };
  }),
);
found.sort((a, b) => b.likeness - a.likeness);
for (const { line, likeness } of found.slice(0, 3)) console.log(likeness.toFixed(3), line);
