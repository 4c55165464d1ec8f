/** A prompt to measure with: the same tokens every time (a linear congruential generator of Numerical Recipes). */
export function randomTokens(length: number, vocabularySize: number): readonly number[] {
  let state = 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabularySize);
  });
}
