/** How an index moves with an axis: what decides between a broadcast, a contiguous access and a gather. */
import type { Axis, Expression, Local } from './language.ts';

/**
 * Elements by which `index` moves when the axis moves by one; undefined if that is no constant. `localStride`: the same of
 * a local, known to whoever has passed its definition (0 if that stands outside the loop of the axis).
 */
export function strideAlong(
  index: Expression,
  axis: Axis,
  localStride: (local: Local) => number | undefined,
): number | undefined {
  const along = (e: Expression) => strideAlong(e, axis, localStride);
  switch (index.kind) {
    case 'axis':
      return index.axis === axis ? 1 : 0;
    case 'constant':
    case 'dim':
      return 0;
    case 'binary': {
      const a = along(index.a);
      const b = along(index.b);
      if (a === undefined || b === undefined) return undefined;
      if (a === 0 && b === 0) return 0;
      if (index.op === 'add') return a + b;
      if (index.op === 'subtract') return a - b;
      if (index.op !== 'multiply') return undefined;
      if (b === 0 && index.b.kind === 'constant') return a * Number(index.b.value);
      if (a === 0 && index.a.kind === 'constant') return b * Number(index.a.value);
      return undefined;
    }
    case 'load':
      return along(index.index) === 0 ? 0 : undefined;
    case 'convert':
    case 'bitcast':
    case 'unary':
    case 'is_finite':
      return along(index.x) === 0 ? 0 : undefined;
    case 'compare':
      return along(index.a) === 0 && along(index.b) === 0 ? 0 : undefined;
    case 'select':
      return [index.condition, index.a, index.b].every((x) => along(x) === 0) ? 0 : undefined;
    case 'local':
      return localStride(index.local);
    default:
      return index satisfies never;
  }
}
