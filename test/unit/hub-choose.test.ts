/** Names of models on a hub, and the files that they mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { chooseFiles, isWholeFolder } from '../../src/hub/choose.ts';
import { looksLikeHubName, nameOfCached, parseHubName } from '../../src/hub/name.ts';

const files = (...paths: string[]) => paths.map((path) => ({ path, size: 1 << 20 }));
const choose = (name: string, ...paths: string[]) => {
  const { open, files: chosen } = chooseFiles(parseHubName(name), files(...paths));
  return { open, files: chosen.map(({ path }) => path) };
};
const refused = (code: 'Usage' | 'FileNotFound', text: RegExp) => (error: unknown) =>
  isIngotError(error, code) && text.test(`${error.message}\n${error.hint}`);

test('names are repositories with an owner, and perhaps a file or a quantization', () => {
  assert.deepEqual(parseHubName('hf:org/repo'), { repo: 'org/repo' });
  assert.deepEqual(parseHubName('hf:org/re.po-1B:Q4_K_M'), { repo: 'org/re.po-1B', part: 'Q4_K_M' });
  assert.deepEqual(parseHubName('hf:org/repo:sub/a.gguf'), { repo: 'org/repo', part: 'sub/a.gguf' });
  for (const wrong of [
    'hf:gpt2',
    'hf:',
    'hf:a/b/c',
    'hf:../x',
    'hf:a/..',
    'hf:a/b:',
    'hf:a--b/c',
    'hf:/b',
    'hf:a/b\0c',
  ]) {
    assert.throws(() => parseHubName(wrong), refused('Usage', /hf:org\/repo/), wrong);
  }
  assert.ok(!looksLikeHubName('hf: a prompt'));
  const snapshot = `/cache/hub/models--org--re-po/snapshots/${'a'.repeat(40)}`;
  assert.equal(nameOfCached(snapshot), 'hf:org/re-po');
  assert.equal(nameOfCached(`${snapshot}/sub/a.gguf`), 'hf:org/re-po:sub/a.gguf');
  assert.equal(nameOfCached('/models/a.gguf'), undefined);
});

test('a quantization is a word of the path, in any case', () => {
  const paths = [
    'a-Q4_K_M.gguf',
    'a-Q4_K_S.gguf',
    'a.q8_0.gguf',
    'IQ4_NL/a.gguf',
    'mmproj-Q8_0.gguf',
    'a-imatrix.gguf',
  ];
  assert.equal(choose('hf:o/r:Q4_K_M', ...paths).open, 'a-Q4_K_M.gguf');
  assert.equal(choose('hf:o/r:Q8_0', ...paths).open, 'a.q8_0.gguf');
  assert.equal(choose('hf:o/r:iq4_nl', ...paths).open, 'IQ4_NL/a.gguf');
  assert.equal(choose('hf:o/r:mmproj-Q8_0.gguf', ...paths).open, 'mmproj-Q8_0.gguf');
  assert.throws(
    () => choose('hf:o/r:Q4', ...paths),
    refused('FileNotFound', /holds no Q4\n.*\n {2}IQ4_NL\/a\.gguf, 1.0 MiB/s),
  );
  assert.throws(
    () => choose('hf:o/r:Q8_0', 'a-Q8_0.gguf', 'b-Q8_0.gguf'),
    refused('Usage', /could be 2 files\n.*a-Q8_0\.gguf.*b-Q8_0\.gguf/s),
  );
});

test('without a part: Q4_K_M, else the only file, else a question', () => {
  assert.equal(choose('hf:o/r', 'a-Q4_K_M.gguf', 'a-Q8_0.gguf', 'README.md').open, 'a-Q4_K_M.gguf');
  assert.equal(choose('hf:o/r', 'a-Q8_0.gguf', 'mmproj-f16.gguf').open, 'a-Q8_0.gguf');
  assert.throws(() => choose('hf:o/r', 'a-Q8_0.gguf', 'a-F16.gguf'), refused('Usage', /could be 2 files/));
  assert.throws(
    () => choose('hf:o/r', 'pytorch_model.bin'),
    refused('FileNotFound', /no GGUF file and no safetensors/),
  );
});

test('a model in parts is all of its parts', () => {
  const parts = ['m-Q8_0-00002-of-00002.gguf', 'm-Q8_0-00001-of-00002.gguf'];
  const all = { open: parts[1], files: [parts[1], parts[0]] };
  assert.deepEqual(choose('hf:o/r:Q8_0', ...parts), all);
  assert.deepEqual(choose(`hf:o/r:${parts[0]}`, ...parts), all);
  assert.throws(() => choose('hf:o/r', parts[0]), refused('FileNotFound', /1 of the 2 parts of m-Q8_0\.gguf/));
});

test('a folder is what transformers would read of it, and no weights twice', () => {
  const small = ['config.json', 'generation_config.json', 'tokenizer.json', 'chat_template.jinja', 'merges.txt'];
  const other = ['README.md', 'pytorch_model.bin', 'pytorch_model.bin.index.json', 'onnx/model.onnx', 'a-Q4_K_M.gguf'];
  const more = ['consolidated.safetensors', 'model.fp16.safetensors', 'onnx/config.json'];
  assert.deepEqual(choose('hf:o/r', ...small, ...other, ...more, 'model.safetensors'), {
    open: undefined,
    files: [...small, 'model.safetensors'],
  });
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const index = 'model.safetensors.index.json';
  assert.deepEqual(choose('hf:o/r', 'config.json', ...shards, index).files, ['config.json', ...shards, index]);
  assert.throws(() => choose('hf:o/r', 'config.json', shards[1], index), refused('FileNotFound', /1 of the 2 shards/));
});

test('a folder is whole with settings, a tokenizer, and all shards', () => {
  const shards = [
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ];
  const all = ['config.json', 'tokenizer.json', ...shards];
  assert.ok(isWholeFolder(files(...all)));
  for (const missing of all) assert.ok(!isWholeFolder(files(...all.filter((path) => path !== missing))), missing);
});
