/** From launches and their code to an image: the steps of every call, one after another, with places for all they use. */
import type { Cost } from '../../compiler/cost.ts';
import type { Memory as Place } from '../../compiler/kernel/plan.ts';
import type { Meeting } from '../../ir/process-groups.ts';
import type { Func } from '../../ir/program.ts';
import { maxBytes, type TensorType } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import type { PlanCode } from './code.ts';
import { type Entry, type Image, isSameSpot, type Region, type Spot } from './image.ts';
import type { Launch, LaunchPlan, LaunchStep } from './launches.ts';
import type { RunFacts } from './profile.ts';

export type CostOf = (run: RunFacts) => Cost;

export interface Linked {
  readonly image: Image;
  /** What each entry costs, for the profile: none of a jump. */
  readonly costs: readonly (CostOf | undefined)[];
}

export function link(launches: LaunchPlan, code: PlanCode, meetings: readonly Meeting[]): Linked {
  const { plan } = launches;
  const { main } = plan;
  const frameBytes = alignUp(main.frameBytes, 64);
  const scratchBytes = alignUp(launches.scratchBytes, 64);
  const flattener = new Flattener(launches, code, { base: 'arena', offset: frameBytes });
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

type Given = (index: number) => Spot | undefined;
type SpotOf = (place: Place) => Spot;
type Jump = Extract<Entry, { kind: 'jump' }>;

class Flattener {
  readonly entries: Entry[] = [];
  /** Of each entry, for the profile. */
  readonly costs: (CostOf | undefined)[] = [];
  readonly #launches: LaunchPlan;
  readonly #code: PlanCode;
  readonly #scratch: Spot;
  /** The entry that has started the latest exchange. */
  #started = 0;

  constructor(launches: LaunchPlan, code: PlanCode, scratch: Spot) {
    this.#launches = launches;
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
    const steps = this.#launches.steps.get(func);
    if (steps === undefined) throw new Error(`function ${func.name} has no plan`);
    this.#steps(steps, frame, spotOf);
  }

  #steps(steps: readonly LaunchStep[], frame: Spot, spotOf: SpotOf): void {
    for (const step of steps) this.#step(step, frame, spotOf);
  }

  #step(step: LaunchStep, frame: Spot, spotOf: SpotOf): void {
    switch (step.kind) {
      case 'launch':
      case 'copy': {
        const spots = step.launch.memory.map(spotOf);
        if (step.kind === 'launch' || !isSameSpot(spots[0], spots[1])) this.#launch(step.launch, spots);
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
        return;
      }
      case 'while': {
        const start = this.entries.length;
        this.#steps(step.before, frame, spotOf);
        const leave = this.#jump({ at: spotOf(step.condition) });
        this.#steps(step.body, frame, spotOf);
        this.#jump().to = start;
        leave.to = this.entries.length;
        return;
      }
      default:
        step satisfies never;
    }
  }

  #launch({ key, dims, cost }: Launch, spots: readonly Spot[]): void {
    this.entries.push({
      kind: 'kernel',
      kernel: this.#code.kernel(key),
      args: [...spots, ...dims.map((sym) => ({ sym }))],
    });
    this.costs.push(cost);
  }

  #jump(test?: Jump['test']): Jump {
    const entry: Jump = { kind: 'jump', to: 0, ...(test && { test }) };
    this.entries.push(entry);
    this.costs.push(undefined);
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
