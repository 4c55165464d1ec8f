import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { StringIndex, StringList } from '../../src/base/string-list.ts';

const encoder = new TextEncoder();

function listOf(parts: readonly Uint8Array[]): StringList {
  const ends: number[] = [];
  for (const part of parts) ends.push((ends.at(-1) ?? 0) + part.length);
  return new StringList(Uint8Array.from(parts.flatMap((part) => [...part])), Uint32Array.from(ends));
}

const texts = fc.array(
  fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'a', 'b', '\ufeff', '\u{1f600}'.repeat(9))),
);

test('a list has the strings that it was made of, and nothing beside them', () => {
  fc.assert(
    fc.property(texts, (strings) => {
      const list = listOf(strings.map((text) => encoder.encode(text)));
      assert.deepEqual([...list], strings);
      assert.deepEqual([list.length, list.at(-1), list.at(strings.length)], [strings.length, undefined, undefined]);
    }),
    { seed: 1 },
  );
});

test('an index finds what a map finds', () => {
  fc.assert(
    fc.property(texts, fc.func(fc.boolean()), fc.array(fc.string()), (strings, takes, others) => {
      const known = new Map<string, number>();
      const index = new StringIndex(listOf(strings.map((text) => encoder.encode(text))), (i, isKnown) => {
        const text = strings[i] ?? '';
        assert.equal(isKnown(), known.has(text));
        if (takes(i)) known.set(text, i);
        return takes(i);
      });
      for (const text of [...strings, ...others]) assert.equal(index.get(text), known.get(text));
      assert.deepEqual(new Map(index), known);
    }),
    { seed: 2 },
  );
});

test('bytes that are no UTF-8 read as U+FFFD, and are found as they are', () => {
  const list = listOf([Uint8Array.of(0x61, 0xff), Uint8Array.of(0xc3)]);
  assert.deepEqual([...list], ['a\ufffd', '\ufffd']);
  const index = new StringIndex(list, () => true);
  assert.equal(index.find(Uint8Array.of(0x00, 0x61, 0xff), 1, 3), 0);
  assert.equal(index.get('a\ufffd'), undefined);
});
