/** Ops between processes stand in programs that are one rank's already. */
import type { collective as rows } from '../../../ir/ops/collective.ts';
import { type PartitionRows, whole } from './row.ts';

export const collective: PartitionRows<keyof typeof rows> = {
  after_all: whole,
  all_gather: whole,
  all_reduce: whole,
  all_to_all: whole,
  collective_broadcast: whole,
  collective_permute: whole,
  partition_id: whole,
  recv: whole,
  reduce_scatter: whole,
  replica_id: whole,
  send: whole,
};
