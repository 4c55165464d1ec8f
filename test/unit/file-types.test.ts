/** The formats that tensors get in llama.cpp's file types, against what its quantize chose (goldens/make-file-types.py). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { MetadataValue } from '../../src/formats/checkpoint.ts';
import {
  chooseFormats,
  fileTypeNamed,
  fileTypeNames,
  isQuantizable,
  type TensorToQuantize,
} from '../../src/models/file-types.ts';

interface Golden {
  /** Named by letters from a. */
  readonly formats: readonly string[];
  readonly models: readonly {
    readonly name: string;
    readonly metadata: Record<string, MetadataValue>;
    readonly hasImportance: boolean;
    readonly tensors: readonly (readonly [name: string, ...shape: number[]])[];
    /** By file type: a letter for each tensor. */
    readonly chosen: Record<string, string>;
  }[];
}
// The fixture is not compiled: from dist/test/unit back to the source tree.
const path = new URL('../../../test/unit/fixtures/file-types.json', import.meta.url);
const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden;

for (const { name, metadata, hasImportance, tensors, chosen } of golden.models) {
  test(`a model with ${name} is mixed as llama.cpp mixes it${hasImportance ? ' with an importance matrix' : ''}`, () => {
    const shapes: TensorToQuantize[] = tensors.map(([tensor, ...shape]) => ({ name: tensor, shape }));
    assert.deepEqual(Object.keys(chosen).sort(), [...fileTypeNames].sort());
    for (const type of fileTypeNames) {
      const choice = { type, metadata: new Map(Object.entries(metadata)), hasImportance, overrides: [] };
      const formats = chooseFormats(shapes, choice);
      for (const [i, tensor] of shapes.entries()) {
        const expected = golden.formats[(chosen[type] ?? '').charCodeAt(i) - 'a'.charCodeAt(0)];
        assert.equal(
          formats.get(tensor.name) ?? (tensor.shape.length === 1 || !isQuantizable(tensor) ? 'f32' : ''),
          expected,
          `${type}: ${tensor.name}`,
        );
      }
    }
  });
}

const many = golden.models[0];
const shapes = many?.tensors.map(([name, ...shape]) => ({ name, shape })) ?? [];
const metadata = new Map(Object.entries(many?.metadata ?? {}));

test('the first pattern that matches decides, and does not shift the choice for others', () => {
  const overrides = [
    { pattern: /blk\.1\.attn_v/, format: 'q8_0' },
    { pattern: /attn_v/, format: 'f16' },
  ];
  const choice = { type: 'q4_K_M', metadata, hasImportance: false } as const;
  const formats = chooseFormats(shapes, { ...choice, overrides });
  assert.equal(formats.get('blk.1.attn_v.weight'), 'q8_0');
  assert.equal(formats.get('blk.2.attn_v.weight'), 'f16');
  const plain = chooseFormats(shapes, { ...choice, overrides: [] });
  assert.equal(formats.get('blk.5.ffn_down.weight'), plain.get('blk.5.ffn_down.weight'));
  assert.equal(formats.has('blk.0.attn_norm.weight'), false);
});

test('rows that are not whole blocks get smaller ones, or f16; what was asked for stays', () => {
  const choose = (
    columns: number,
    type: 'q8_0' | 'q4_K_M',
    overrides: readonly { pattern: RegExp; format: string }[] = [],
  ) =>
    chooseFormats([{ name: 'blk.0.ffn_up.weight', shape: [4, columns] }], {
      type,
      metadata,
      hasImportance: false,
      overrides,
    }).get('blk.0.ffn_up.weight');
  assert.equal(choose(256, 'q4_K_M'), 'q4_K');
  assert.equal(choose(96, 'q4_K_M'), 'q5_0');
  assert.equal(choose(20, 'q4_K_M'), 'f16');
  assert.equal(choose(20, 'q8_0'), 'f16');
  assert.equal(choose(20, 'q8_0', [{ pattern: /up/, format: 'q4_K' }]), 'q4_K');
});

test('file types are found in any case, by their short names too', () => {
  assert.equal(fileTypeNamed('Q4_K_M'), 'q4_K_M');
  assert.equal(fileTypeNamed('q4_K'), 'q4_K_M');
  assert.equal(fileTypeNamed('Q5_K'), 'q5_K_M');
  assert.equal(fileTypeNamed('iq2_xs'), undefined);
  assert.equal(fileTypeNamed('constructor'), undefined);
});
