/**
 * Answers to all lines of a file, as lines of JSON: `node batch.js PROMPTS.TXT [MODEL]`. Eight are computed together, which takes hardly
 * longer than one, and what their prompts share is computed once; answers come in the order of the file.
 */
import { readFileSync } from 'node:fs';
import { Engine } from 'ingot';

const [file = 'prompts.txt', model] = process.argv.slice(2);
const prompts = readFileSync(file, 'utf8').split('\n').filter(Boolean);

await using engine = await Engine.load(model, { sequences: 8, contextLength: { atMost: 1024 } });
const answers = prompts.map((prompt) => engine.generate(prompt, { maxTokens: 24, stop: ['\n'] }).text());
for (const [i, answer] of answers.entries()) console.log(JSON.stringify({ prompt: prompts[i], answer: await answer }));
