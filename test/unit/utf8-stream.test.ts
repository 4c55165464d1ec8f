/** A text that comes in pieces of bytes is what WHATWG's decoder makes of all of them, however characters are cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, seededRandom } from '../../src/cli/load/random.ts';
import { Utf8Stream } from '../../src/tokenizer/stream.ts';

// ASCII, short and long, nothing, whole characters and parts of them, and what is never part of one.
const pieces = ['a', ' the', 'x'.repeat(30), '', '\u00e9', '\u20ac', '\u{1f600}', '\ufeff'].map((text) =>
  new TextEncoder().encode(text),
);
const parts = [[0xc3], [0xa9], [0xf0], [0x9f, 0x98], [0x80], [0xff], [0xe2, 0x82], [0xac, 0x41]].map((bytes) =>
  Uint8Array.from(bytes),
);
const all = [...pieces, ...parts];

test('pieces of bytes in any order become the text of all of them', () => {
  const draw = seededRandom(11);
  for (let round = 0; round < 500; round++) {
    const ids = Array.from({ length: between(draw, { low: 1, high: 12 }) }, () =>
      between(draw, { low: 0, high: all.length - 1 }),
    );
    const stream = new Utf8Stream((id) => all[id], {}, true);
    const text = ids.map((id) => stream.push(id)).join('') + stream.end();
    const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(ids.map((id) => all[id])));
    assert.equal(text, whole, ids.join(' '));
  }
});
