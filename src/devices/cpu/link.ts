/** From a plan and its code to an image: the steps of every call, one after another, with places for all they use. */
import type { Cost } from '../../compiler/cost.ts';
import { kernelCost } from '../../compiler/kernel/kernel-cost.ts';
import type { Memory as Place, Plan, Step } from '../../compiler/kernel/plan.ts';
import type { Func, Value } from '../../ir/program.ts';
import { alignUp } from './align.ts';
import { allSteps, type PlanCode } from './code.ts';
import { compositeKernels } from './composites/table.ts';
import { type Argument, type Entry, type Image, isSameSpot, type KernelCode, type Spot } from './image.ts';
import type { RunFacts } from './profile.ts';
import type { Target } from './target.ts';

export type CostOf = (run: RunFacts) => Cost;

export interface Linked {
  readonly image: Image;
  /** What each entry costs, for the profile: none of a jump. */
  readonly costs: readonly (CostOf | undefined)[];
}

export function link(plan: Plan, code: PlanCode): Linked {
  const frameBytes = alignUp(plan.main.frameBytes, 64);
  const scratchBytes = alignUp(Math.max(plan.scratchBytes, compositeScratch(plan, code.target)), 64);
  const flattener = new Flattener(plan, code, { base: 'arena', offset: frameBytes });
  const { main } = plan;
  const frame: Spot = { base: 'arena', offset: 0 };
  const spotOf = flattener.placing(
    frame,
    (index) => ({ base: index, offset: 0 }),
    () => undefined,
  );
  flattener.call(main.func, frame, spotOf);
  const { entries, costs } = flattener;
  const image: Image = {
    layout: {
      arenaBytes: Math.max(64, frameBytes + scratchBytes),
      entries,
      parameters: main.parameters.map((place) => place && spotOf(place)),
      results: main.results.map((place) => place && spotOf(place)),
    },
    code: code.bytes,
    constants: code.constants,
  };
  return { image, costs };
}

/** What the launches of a composite share, at most. */
function compositeScratch(plan: Plan, target: Target): number {
  let most = 0;
  for (const step of allSteps(plan)) {
    if (step.kind !== 'composite') continue;
    for (const { scratchBytes } of compositeKernels(step.group, target)) most = Math.max(most, scratchBytes);
  }
  return most;
}

type Given = (index: number) => Spot | undefined;
type SpotOf = (place: Place) => Spot;
type Jump = Extract<Entry, { kind: 'jump' }>;

class Flattener {
  readonly entries: Entry[] = [];
  /** Of each entry, for the profile. */
  readonly costs: (CostOf | undefined)[] = [];
  readonly #plan: Plan;
  readonly #code: PlanCode;
  readonly #scratch: Spot;
  /** What lies in scratch, if that is known: what a composite has prepared of a value of this call. */
  #prepared: { readonly key: string; readonly value: Value } | undefined;

  constructor(plan: Plan, code: PlanCode, scratch: Spot) {
    this.#plan = plan;
    this.#code = code;
    this.#scratch = scratch;
  }

  /** Says where the places of a call lie. */
  placing(frame: Spot, parameter: Given, result: Given): SpotOf {
    return (place) => {
      switch (place.kind) {
        case 'frame':
          return moved(frame, place.offset);
        case 'parameter':
          return moved(given(parameter(place.index)), place.offset);
        case 'result':
          return moved(given(result(place.index)), place.offset);
        case 'constant':
          return { base: 'constants', offset: this.#code.constant(place.literal) };
        case 'scratch':
          return moved(this.#scratch, place.offset);
        default:
          return place satisfies never;
      }
    };
  }

  call(func: Func, frame: Spot, spotOf: SpotOf): void {
    const plan = this.#plan.functions.get(func);
    if (plan === undefined) throw new Error(`function ${func.name} has no plan`);
    this.#prepared = undefined;
    this.#steps(plan.steps, frame, spotOf);
    this.#prepared = undefined;
  }

  #steps(steps: readonly Step[], frame: Spot, spotOf: SpotOf): void {
    for (const step of steps) this.#step(step, frame, spotOf);
  }

  #step(step: Step, frame: Spot, spotOf: SpotOf): void {
    switch (step.kind) {
      case 'launch':
      case 'copy': {
        const spots = step.memory.map(spotOf);
        if (step.kind === 'copy' && isSameSpot(spots[0], spots[1])) return;
        const args: readonly Argument[] = [...spots, ...step.kernel.dims.map((sym) => ({ sym }))];
        if (step.memory.some(({ kind }) => kind === 'scratch')) this.#prepared = undefined;
        this.#launch(this.#code.kernel(step.kernel), args, ({ dims }) => kernelCost(step.kernel, dims));
        return;
      }
      case 'composite': {
        const launches = compositeKernels(step.group, this.#code.target);
        // Several products of the same activations, as of queries, keys and values, prepare them once.
        if (!launches.some(({ prepares }) => prepares !== undefined)) this.#prepared = undefined;
        for (const { key, buffers, dims, cost, prepares } of launches) {
          if (prepares !== undefined) {
            if (this.#prepared?.key === key && this.#prepared.value === prepares) continue;
            this.#prepared = { key, value: prepares };
          }
          const spots = buffers.map((buffer): Spot => {
            if ('scratch' in buffer) return moved(this.#scratch, buffer.scratch);
            const place = step.memory.get(buffer.value);
            if (place === undefined) throw new Error('an operand of a composite has no memory');
            return spotOf(place);
          });
          this.#launch(this.#code.composite(key), [...spots, ...dims.map((sym) => ({ sym }))], cost);
        }
        return;
      }
      case 'call': {
        const at = (places: readonly (Place | undefined)[]): Given => {
          const spots = places.map((place) => (place === undefined ? undefined : spotOf(place)));
          return (index) => spots[index];
        };
        const inner = moved(frame, step.frame);
        this.call(step.func, inner, this.placing(inner, at(step.parameters), at(step.results)));
        return;
      }
      case 'branch': {
        const choice = spotOf(step.choice);
        const ends: Jump[] = [];
        step.branches.forEach((branch, i) => {
          const last = i === step.branches.length - 1;
          const skip = last ? undefined : this.#jump({ at: choice, ...(step.op === 'case' && { equals: i }) });
          this.#steps(branch, frame, spotOf);
          if (!last) ends.push(this.#jump());
          if (skip !== undefined) skip.to = this.entries.length;
        });
        for (const end of ends) end.to = this.entries.length;
        this.#prepared = undefined;
        return;
      }
      case 'while': {
        this.#prepared = undefined;
        const start = this.entries.length;
        this.#steps(step.before, frame, spotOf);
        const leave = this.#jump({ at: spotOf(step.condition) });
        this.#steps(step.body, frame, spotOf);
        this.#jump().to = start;
        leave.to = this.entries.length;
        this.#prepared = undefined;
        return;
      }
      default:
        step satisfies never;
    }
  }

  #launch(kernel: KernelCode, args: readonly Argument[], cost: CostOf): void {
    this.entries.push({ kind: 'kernel', kernel, args });
    this.costs.push(cost);
  }

  #jump(test?: Jump['test']): Jump {
    const entry: Jump = { kind: 'jump', to: 0, ...(test && { test }) };
    this.entries.push(entry);
    this.costs.push(undefined);
    this.#prepared = undefined;
    return entry;
  }
}

function moved({ base, offset }: Spot, by: number): Spot {
  return { base, offset: offset + by };
}

function given(spot: Spot | undefined): Spot {
  if (spot === undefined) throw new Error('a step uses memory that the caller does not give');
  return spot;
}
