/** Gives values of one rank the layout that is wanted: what is moved once is not moved again, and what can be made is not moved. */
import type { Op, Value } from '../../ir/program.ts';
import { asTensor } from '../../ir/types.ts';
import { chooseFactors } from './choose-factors.ts';
import type { Parts } from './parts.ts';
import { allReduce, reshard, scatteredDim } from './reshard.ts';
import type { Chosen } from './rules/row.ts';
import { emitLocal, ruleOf } from './rules/table.ts';
import type { Local, Scope } from './scope.ts';
import { type Layout, layoutKey, type Partial, type Place, splitsOf, wholeSplits } from './split.ts';

type Splits = Layout['splits'];

export class Mover {
  readonly #place: Place;
  readonly #parts: Parts;

  constructor(place: Place, parts: Parts) {
    this.#place = place;
    this.#parts = parts;
  }

  move(scope: Scope, local: Local, splits: Splits): Value {
    const { value, layout, origin } = local;
    if (origin.type.kind !== 'tensor') return value;
    const key = layoutKey({ splits });
    if (key === layoutKey(layout)) return value;
    const { type } = origin;
    return scope.moved(local, key, () => {
      if (layout.partial !== undefined && scatteredDim(layout, splits) === undefined) {
        const summed = this.#folded(scope, local, layout.partial);
        return reshard(scope.b, this.#place, summed, type, { splits: layout.splits }, splits);
      }
      const made = layout.partial === undefined && layout.splits.every((split) => split === undefined);
      return (
        (made ? this.#remake(scope, origin, splits) : undefined) ??
        reshard(scope.b, this.#place, value, type, layout, splits)
      );
    });
  }

  whole(scope: Scope, value: Value): Value {
    return this.move(scope, scope.get(value), wholeSplits(value));
  }

  /** The operands as the chosen factors need them. What is passed on as parts lies as it is needed. */
  operands(op: Op, chosen: readonly Chosen[], scope: Scope, passed: readonly number[] = []): readonly Value[] {
    return op.operands.map((value, i) => {
      const local = scope.get(value);
      if (passed.includes(i)) {
        scope.passOn(local);
        return local.value;
      }
      return this.move(
        scope,
        local,
        splitsOf(value, (d) => chosen.find(({ factor }) => factor.operands[i] === d)?.operands[i]),
      );
    });
  }

  /** Parts made whole, and with them others that wait for the same: ranks meet once for all. */
  #folded(scope: Scope, local: Local, partial: Partial): Value {
    const key = (each: Local) => layoutKey({ splits: each.layout.splits });
    return scope.moved(local, key(local), () => {
      const { element } = asTensor(local.origin.type);
      const others = scope
        .waiting(local)
        .filter(
          ({ origin, layout }) =>
            asTensor(origin.type).element === element &&
            layout.partial?.by === partial.by &&
            layout.partial.axes.join() === partial.axes.join() &&
            this.#parts.isFoldedNext(origin),
        );
      const all = [local, ...others];
      const values = allReduce(
        scope.b,
        this.#place,
        all.map(({ value }) => value),
        partial,
      );
      others.forEach((each, i) => {
        scope.moved(each, key(each), () => values[i + 1]);
      });
      return values[0];
    });
  }

  /** Part of what every rank can make alone; undefined for all else. */
  #remake(scope: Scope, { owner, type }: Value, splits: Splits): Value | undefined {
    if (owner.kind !== 'op') return undefined;
    if (owner.name !== 'constant' && owner.name !== 'iota' && owner.name !== 'broadcast_in_dim') return undefined;
    const chosen = chooseFactors(
      owner,
      ruleOf(owner),
      owner.operands.map(() => []),
      [splits],
    );
    const done = splits.every(
      (split, d) => split === undefined || chosen.some(({ factor }) => factor.results[0] === d),
    );
    if (!done) return undefined;
    const operands = this.operands(owner, chosen, scope);
    const types = [this.#place.localType(asTensor(type), { splits })];
    return emitLocal({ ...{ op: owner, operands, chosen, types, regions: [], place: this.#place }, b: scope.b })[0];
  }
}
