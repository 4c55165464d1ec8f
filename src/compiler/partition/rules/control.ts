/**
 * Rules of ops that choose, repeat, call or carry: what they hand on keeps its layout, which `ties.ts` and `localize.ts` see to
 * themselves, since it is between values and not within the op.
 */
import type { control as rows } from '../../../ir/ops/control.ts';
import { type PartitionRows, rankOf, whole } from './row.ts';

export const control: PartitionRows<keyof typeof rows> = {
  call: whole,
  case: whole,
  composite: whole,
  custom_call: whole,
  get_tuple_element: whole,
  if: whole,
  optimization_barrier: {
    rule: ({ operands }) => ({
      factors: operands.flatMap((value, i) =>
        value.type.kind !== 'tensor'
          ? []
          : Array.from({ length: rankOf(value) }, (_, d) => ({
              operands: operands.map((_, j) => (i === j ? d : undefined)),
              results: operands.map((_, j) => (i === j ? d : undefined)),
            })),
      ),
    }),
  },
  tuple: whole,
  while: whole,
};
