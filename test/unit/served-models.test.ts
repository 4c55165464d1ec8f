/** What models are called that `ingot serve` is given. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundledModel } from '../../src/cli/bundled-model.ts';
import { splitName } from '../../src/cli/named-model.ts';
import { usualName } from '../../src/cli/served-models.ts';

test('a model is called as its file, its folder, or its repository on the hub', () => {
  const snapshot = `/cache/models--Qwen--Qwen3-0.6B/snapshots/${'a'.repeat(40)}`;
  const names: readonly (readonly [string, string])[] = [
    [bundledModel, 'tales'],
    ['/models/Llama-3.2-1B-Q4_K_M.gguf', 'Llama-3.2-1B-Q4_K_M'],
    ['big-00001-of-00003.GGUF', 'big'],
    ['/models/folder/', 'folder'],
    [snapshot, 'Qwen/Qwen3-0.6B'],
    [`${snapshot}/Qwen3-Q8_0.gguf`, 'Qwen3-Q8_0'],
    [`${snapshot}/Q4_K_M/big-00001-of-00002.gguf`, 'big'],
  ];
  for (const [path, name] of names) assert.equal(usualName(path), name);
});

test('NAME=MODEL names a model, unless that is a path', () => {
  const split = (text: string, ...there: string[]) => splitName(text, (path) => there.includes(path));
  assert.deepEqual(split('small=/a/b.gguf'), { name: 'small', model: '/a/b.gguf' });
  assert.deepEqual(split('small=hf:org/repo:Q4=x'), { name: 'small', model: 'hf:org/repo:Q4=x' });
  assert.deepEqual(split('a=b.gguf', 'a=b.gguf'), { model: 'a=b.gguf' });
  assert.deepEqual(split('/x/a=b.gguf'), { model: '/x/a=b.gguf' });
  assert.deepEqual(split('hf:org/a=b'), { model: 'hf:org/a=b' });
  assert.deepEqual(split('=x'), { model: '=x' });
});
