/** From a plan and its code to an image: the steps of every call, one after another, with places for all they use. */
import type { Cost } from '../../compiler/cost.ts';
import { kernelCost } from '../../compiler/kernel/kernel-cost.ts';
import type { Memory as Place, Plan, Step } from '../../compiler/kernel/plan.ts';
import type { Meeting } from '../../ir/process-groups.ts';
import type { Func } from '../../ir/program.ts';
import { maxBytes, type TensorType } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import { allSteps, type PlanCode } from './code.ts';
import type { CompositeLaunch } from './composites/composite-kernel.ts';
import { compositeKernels } from './composites/table.ts';
import { type Argument, type Entry, type Image, isSameSpot, type KernelCode, type Region, type Spot } from './image.ts';
import type { RunFacts } from './profile.ts';
import type { Target } from './target.ts';

export type CostOf = (run: RunFacts) => Cost;

export interface Linked {
  readonly image: Image;
  /** What each entry costs, for the profile: none of a jump. */
  readonly costs: readonly (CostOf | undefined)[];
}

export function link(plan: Plan, code: PlanCode, meetings: readonly Meeting[]): Linked {
  const frameBytes = alignUp(plan.main.frameBytes, 64);
  const scratchBytes = alignUp(Math.max(plan.scratchBytes, compositeScratch(plan, code.target)), 64);
  const flattener = new Flattener(plan, code, { base: 'arena', offset: frameBytes });
  const { main } = plan;
  const frame: Spot = { base: 'arena', offset: 0 };
  const spotOf = flattener.placing(
    frame,
    (index) => ({ base: 'parameter', index, offset: 0 }),
    (index) => ({ base: 'result', index, offset: 0 }),
  );
  flattener.call(main.func, frame, spotOf);
  const { entries, costs } = flattener;
  const image: Image = {
    layout: {
      arenaBytes: Math.max(64, frameBytes + scratchBytes),
      resultBytes: plan.resultBytes,
      entries,
      parameters: main.parameters.map((place) => place && spotOf(place)),
      results: main.results.map((place) => place && spotOf(place)),
      meetings,
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
    for (const { scratchBytes } of compositeKernels(step.op, target, step.followers)) most = Math.max(most, scratchBytes);
  }
  return most;
}

type Given = (index: number) => Spot | undefined;
type SpotOf = (place: Place) => Spot;
type Jump = Extract<Entry, { kind: 'jump' }>;

/** Bytes of scratch that a launch has made of values. */
type Prepared = { readonly key: string } & NonNullable<CompositeLaunch['prepares']>;

class Flattener {
  readonly entries: Entry[] = [];
  /** Of each entry, for the profile. */
  readonly costs: (CostOf | undefined)[] = [];
  readonly #plan: Plan;
  readonly #code: PlanCode;
  readonly #scratch: Spot;
  /** What lies in scratch as far as that is known: what composites have prepared of values of this call. */
  #prepared: readonly Prepared[] = [];
  /** The entry that has started the latest exchange. */
  #started = 0;

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
    this.#prepared = [];
    this.#steps(plan.steps, frame, spotOf);
    this.#prepared = [];
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
        if (step.memory.some(({ kind }) => kind === 'scratch')) this.#prepared = [];
        this.#launch(this.#code.kernel(step.kernel), args, ({ dims }) => kernelCost(step.kernel, dims));
        return;
      }
      case 'composite': {
        const launches = compositeKernels(step.op, this.#code.target, step.followers);
        const scratch = launches.some(({ buffers }) => buffers.some((buffer) => 'scratch' in buffer));
        if (scratch && launches.every(({ prepares }) => prepares === undefined)) this.#prepared = [];
        for (const { key, buffers, dims, cost, prepares } of launches) {
          if (prepares !== undefined && !this.#prepare({ key, ...prepares })) continue;
          const spots = buffers.map((buffer): Spot => {
            if ('scratch' in buffer) return moved(this.#scratch, buffer.scratch);
            const place =
              'value' in buffer ? step.memory.get(buffer.value) : step.followers[buffer.follower]?.memory[buffer.i];
            if (place === undefined) throw new Error('an operand of a composite has no memory');
            return spotOf(place);
          });
          this.#launch(this.#code.composite(key), [...spots, ...dims.map((sym) => ({ sym }))], cost);
        }
        return;
      }
      case 'exchange': {
        const { exchange, starts, types, operands, results } = step;
        const regions = [...operands, ...results].map((place, i) => regionOf(spotOf(place), types[i]));
        if (starts) this.#started = this.entries.length;
        this.entries.push({
          kind: 'exchange',
          exchange,
          starts,
          operands: regions.slice(0, operands.length),
          results: regions.slice(operands.length),
        });
        this.costs.push(undefined);
        return;
      }
      case 'finish':
        this.entries.push({ kind: 'finish', of: this.#started });
        this.costs.push(undefined);
        return;
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
        this.#prepared = [];
        return;
      }
      case 'while': {
        this.#prepared = [];
        const start = this.entries.length;
        this.#steps(step.before, frame, spotOf);
        const leave = this.#jump({ at: spotOf(step.condition) });
        this.#steps(step.body, frame, spotOf);
        this.#jump().to = start;
        leave.to = this.entries.length;
        this.#prepared = [];
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

  /** Whether that has to be done: several products of the same activations, as of queries, keys and values, prepare them once. */
  #prepare(next: Prepared): boolean {
    const isThere = ({ key, of }: Prepared) => key === next.key && of.every((value, i) => value === next.of[i]);
    if (this.#prepared.some(isThere)) return false;
    const kept = this.#prepared.filter(({ from, to }) => to <= next.from || next.to <= from);
    this.#prepared = [...kept, next];
    return true;
  }

  #jump(test?: Jump['test']): Jump {
    const entry: Jump = { kind: 'jump', to: 0, ...(test && { test }) };
    this.entries.push(entry);
    this.costs.push(undefined);
    this.#prepared = [];
    return entry;
  }
}

function regionOf(spot: Spot, type: TensorType): Region {
  const [rows] = type.shape;
  if (typeof rows === 'number' || rows === undefined) return { spot, bytes: maxBytes(type) };
  return { spot, bytes: maxBytes({ ...type, shape: type.shape.slice(1) }), rows: rows.sym };
}

function moved(spot: Spot, by: number): Spot {
  return { ...spot, offset: spot.offset + by };
}

function given(spot: Spot | undefined): Spot {
  if (spot === undefined) throw new Error('a step uses memory that the caller does not give');
  return spot;
}
