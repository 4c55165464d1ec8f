/** Regions that say nothing but one commutative op. */
import type { BinaryOp } from './attributes.ts';
import type { Region } from './program.ts';

const commutative: ReadonlySet<string> = new Set<BinaryOp>([
  'add',
  'and',
  'maximum',
  'minimum',
  'multiply',
  'or',
  'xor',
]);

/** The op of a region that is one commutative binary op of its two parameters. */
export function plainFold(region: Region): BinaryOp | undefined {
  const [op] = region.body;
  if (region.body.length !== 1 || !commutative.has(op.name) || region.results[0] !== op.results[0]) return undefined;
  const [a, b] = region.parameters;
  const straight = op.operands[0] === a && op.operands[1] === b;
  const crossed = op.operands[0] === b && op.operands[1] === a;
  return straight || crossed ? (op.name as BinaryOp) : undefined;
}
