/**
 * Index expressions as sums of terms with constant coefficients: what moves with a loop becomes its counter in an address,
 * what does not is computed before the loop. Terms are compared by their keys.
 */
import { keyOf } from '../../../compiler/kernel/expression-key.ts';
import type { Axis, Expression, Local } from '../../../compiler/kernel/language.ts';

export interface Term {
  readonly key: string;
  readonly expression: Expression;
  readonly coefficient: number;
}

/** `constant` plus the sum of coefficient * expression; no coefficient is 0, no two keys are equal. */
export interface Linear {
  readonly constant: number;
  readonly terms: readonly Term[];
}

function addLinear(a: Linear, b: Linear, factor = 1): Linear {
  const terms = new Map(a.terms.map((term) => [term.key, term]));
  for (const term of b.terms) {
    const coefficient = (terms.get(term.key)?.coefficient ?? 0) + factor * term.coefficient;
    if (coefficient === 0) terms.delete(term.key);
    else terms.set(term.key, { ...term, coefficient });
  }
  return { constant: a.constant + factor * b.constant, terms: [...terms.values()] };
}

const ofConstant = (constant: number): Linear => ({ constant, terms: [] });
const scaled = (a: Linear, factor: number) => addLinear(ofConstant(0), a, factor);

/** A turn of a loop beyond the one that its counter says. */
export interface Ahead {
  readonly axis: Axis;
  readonly turns: number;
}

/** `known`: what a local stands for, where that is an index form itself. */
export function linearOf(e: Expression, known: (local: Local) => Linear | undefined, ahead?: Ahead): Linear {
  const one = (constant = 0): Linear => ({ constant, terms: [{ key: keyOf(e), expression: e, coefficient: 1 }] });
  const inner = (x: Expression) => linearOf(x, known, ahead);
  if (e.kind === 'constant') return ofConstant(Number(e.value));
  if (e.kind === 'axis') return one(e.axis === ahead?.axis ? ahead.turns : 0);
  if (e.kind === 'local') return known(e.local) ?? one();
  if (e.kind !== 'binary') return one();
  if (e.op === 'add') return addLinear(inner(e.a), inner(e.b));
  if (e.op === 'subtract') return addLinear(inner(e.a), inner(e.b), -1);
  if (e.op !== 'multiply') return one();
  const [a, b] = [inner(e.a), inner(e.b)];
  if (a.terms.length === 0) return scaled(b, a.constant);
  if (b.terms.length === 0) return scaled(a, b.constant);
  return one();
}

/** Elements by which it moves with the axis. */
export function strideOf({ terms }: Linear, axis: Axis | undefined): number {
  return terms.find(({ expression: e }) => e.kind === 'axis' && e.axis === axis)?.coefficient ?? 0;
}

/** The terms of `a` for which `choose` holds, without the constant. */
export function termsOf(a: Linear, choose: (term: Term) => boolean): Linear {
  return { constant: 0, terms: a.terms.filter(choose) };
}

export function linearKey(a: Linear): string {
  const terms = a.terms.map(({ key, coefficient }) => `${coefficient}*${key}`).sort();
  return `${a.constant}+${terms.join('+')}`;
}
