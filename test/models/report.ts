/** docs/models.md: which models and weight formats work, and what each is held to. Made of the lists that the tests go through. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { architectures } from '../../src/models/architectures.ts';
import type { Architecture } from '../../src/models/model.ts';
import { blockFormats } from '../../src/numerics/quant/formats.ts';
import { repositoryPath } from '../fixtures.ts';
import { quantizedFolders, quantizedFormats } from '../unit/quantized-formats.ts';
import { embedderNames, llamaCppExceptions, modelFolder, modelNames } from './golden.ts';
import { inBlocks } from './in-format.ts';

export const reportPath = repositoryPath('docs', 'models.md');

/** The fixtures, and what each says that it is. */
const architectureOf: ReadonlyMap<string, string> = new Map(
  [...modelNames, ...embedderNames].map((name) => {
    const config = JSON.parse(readFileSync(join(modelFolder(name), 'config.json'), 'utf8')) as {
      architectures: string[];
    };
    return [name, config.architectures[0]];
  }),
);

function fixturesOf({ huggingface }: Architecture): readonly string[] {
  return [...architectureOf].filter(([, name]) => huggingface.includes(name)).map(([fixture]) => fixture);
}

/** Names of folders that are read and that no fixture has. */
export function namesWithoutFixture(): readonly string[] {
  const held = new Set(architectureOf.values());
  return architectures.flatMap(({ huggingface }) => huggingface).filter((name) => !held.has(name));
}

const code = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');

function architectureRow(architecture: Architecture): string {
  const fixtures = fixturesOf(architecture);
  const embeds = fixtures.filter((name) => embedderNames.includes(name));
  const held = fixtures.filter((name) => llamaCppExceptions[name] === undefined);
  const oracle = [fixtures.length > embeds.length ? 'logits' : '', embeds.length > 0 ? 'embeddings' : ''].filter(
    (what) => what !== '',
  );
  const cells = [
    architecture.name,
    architecture.gguf.length === 0 ? 'as `llama`' : code(architecture.gguf),
    code(architecture.huggingface),
    fixtures.join(', '),
    oracle.join(', '),
    held.join(', '),
  ];
  return `| ${cells.join(' | ')} |`;
}

function blockedModels(): string {
  const models = new Map<string, string[]>();
  for (const { name, form, format } of inBlocks) {
    const model = `${name}${form === '' ? '' : ' in halves'}`;
    models.set(model, [...(models.get(model) ?? []), format]);
  }
  return [...models].map(([model, formats]) => `${model} (${code(formats)})`).join(', ');
}

function formatRows(): readonly string[] {
  const quants = JSON.parse(readFileSync(repositoryPath('test', 'unit', 'fixtures', 'quants.json'), 'utf8')) as {
    readonly encoded: Readonly<Record<string, string>>;
    readonly decoded: Readonly<Record<string, unknown>>;
  };
  const fp8: Readonly<Record<string, string>> = JSON.parse(readFileSync(join(quantizedFolders, 'fp8.json'), 'utf8'));
  const mark = (has: boolean) => (has ? 'ggml' : '');
  return blockFormats.map(({ name, blockSize, blockBytes, integers }) => {
    const bits = (8 * blockBytes) / blockSize;
    const decoded = blockSize === 1 ? 'exact' : mark(name in quants.decoded);
    const oracles = [name in fp8 ? 'torch' : decoded, mark(name in quants.encoded)];
    return `| \`${name}\` | ${blockSize} | ${bits} | ${oracles.join(' | ')} | ${integers === undefined ? 'f32' : 'i8'} |`;
  });
}

/** What `quantization_config` says of each folder that the tests go through. */
function quantizedRows(): readonly string[] {
  return Object.entries(quantizedFormats).map(([name, format]) => {
    const config = JSON.parse(readFileSync(join(quantizedFolders, name, 'config.json'), 'utf8'));
    const says = Object.entries(config.quantization_config).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
    return `| ${name} | ${says.join(', ')} | \`${format}\` | transformers |`;
  });
}

export function renderReport(): string {
  const exceptions = Object.entries(llamaCppExceptions).map(([name, why]) => `- ${name}: ${why}.`);
  return `${[
    '# Models',
    '',
    'Written by `npm run models-table` from the lists that the tests go through. Every fixture is a tiny random model that',
    'transformers saved (`test/models/goldens.py`). On each device its logits are within 1e-4 of the largest one of',
    "transformers', with the same arg-max, or its embeddings within 1e-5; a prompt at once, in chunks and token by token",
    'gives the same bits, where tokens see those before them; and the GGUF file that is made of the folder is the same model. llama.cpp loads that file, and its',
    'log-probabilities are within 0.01, the directions of its embeddings within 0.005. GGUF files of deepseek2 have the matrix of',
    "keys and values whole or, as llama.cpp's converter makes them, in two halves: the fixtures are read in both forms.",
    '',
    '| architecture | GGUF `general.architecture` | Hugging Face `architectures` | fixtures | transformers | llama.cpp agrees on |',
    '| --- | --- | --- | --- | --- | --- |',
    ...architectures.map(architectureRow),
    '',
    'Where llama.cpp is not asked:',
    '',
    ...exceptions,
    '',
    'Mistral and Mixtral have no name of their own in GGUF files, which say `llama`. Folders of Gemma 3 with 4 billion weights and more',
    '(`Gemma3ForConditionalGeneration`), which see images, are refused; their GGUF files, which hold the text part alone, are read.',
    '',
    '## Weight formats',
    '',
    'Architectures know nothing of formats. Decoded and encoded: held to the bytes and values of which implementation. Products:',
    'the numerics of a step (`docs/architecture.md`, Numerics), to whose scalar references the products of every format are held bit by bit.',
    `Whole models with their matrices in blocks give the same bits however prompts are cut: ${blockedModels()}.`,
    '',
    '| format | block | bits a weight | decoded | encoded | products |',
    '| --- | --: | --: | --- | --- | --- |',
    ...formatRows(),
    '',
    '## Folders with quantized weights',
    '',
    'What each becomes is in `docs/hub.md`. On the reference device the logits of each fixture are within 1e-5 of the largest one of',
    "transformers' with the weights that the format's definition gives; the cpu device rounds activations where products are i8.",
    '',
    '| fixture | its `quantization_config` | held as | logits |',
    '| --- | --- | --- | --- |',
    ...quantizedRows(),
  ].join('\n')}\n`;
}
