/** Greedy texts of engines that sum in unlike orders: the same, or parted where two tokens are nearly alike, which is shown. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Engine } from '../../src/engine/engine.ts';

/** Of the largest logit: what sums in another order may differ by; with integers an activation may be rounded the other way, and all that follows from it. */
const tolerances = { f32: 1e-4, i8: 1e-2 };

/** Where the texts part, the tokens have to be nearly alike by `engine`: that is said. */
export async function assertSameText(
  t: TestContext,
  engine: Engine,
  prompt: readonly number[],
  own: readonly number[],
  theirs: readonly number[],
  numerics: keyof typeof tolerances = 'f32',
): Promise<void> {
  assert.equal(theirs.length, own.length);
  const at = own.findIndex((id, i) => theirs[i] !== id);
  if (at < 0) return;
  // What the engine says before that token.
  const text = [...prompt, ...own.slice(0, at + 1)];
  const logits = await engine.logits(text, { first: text.length - 1 });
  const gap = Math.abs(logits[own[at]] - logits[theirs[at]]);
  const largest = logits.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  assert.ok(
    gap <= tolerances[numerics] * largest,
    `token ${at}: ${theirs[at]}, not ${own[at]}, with logits ${gap} apart`,
  );
  t.diagnostic(`from token ${at} of ${own.length} on: ${own[at]} and ${theirs[at]} have logits ${gap} apart`);
}
