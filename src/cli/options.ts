/** Options that several commands share, and how their values are read. */
import { InvalidArgumentError, Option } from 'commander';
import { engineNumerics } from '../engine/engine.ts';

export function wholeNumber(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < low || value > high) {
      const range = high === Number.MAX_SAFE_INTEGER ? `from ${low}` : `from ${low} to ${high}`;
      throw new InvalidArgumentError(`It must be a whole number ${range}.`);
    }
    return value;
  };
}

export function numberIn(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`);
    }
    return value;
  };
}

export function seed(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 1n << 64n) {
    throw new InvalidArgumentError('It must be a whole number from 0 to 2^64 - 1.');
  }
  return BigInt(text);
}

/** Repeated options gather in a list. */
export function gather(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

export function numericsOption(): Option {
  const text = 'exact: one answer, however the prompt is cut into steps; fast: prompts in bf16, which gives that up';
  return new Option('--numerics <how>', text).choices(engineNumerics).default('exact');
}
