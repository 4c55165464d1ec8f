/** A plan carried out with the evaluator of the loop language, over host memory. */
import type { Literal } from '../../ir/program.ts';
import { type DimValues, maxElements } from '../../ir/types.ts';
import { unsupported } from './element-row.ts';
import { type Address, type Evaluator, evaluatorOf } from './evaluate.ts';
import type { Kernel } from './language.ts';
import type { FunctionPlan, Memory, Plan, Step } from './plan.ts';

/** Bytes of a constant in memory, its single element repeated where it fills a tensor. */
const constants = new WeakMap<Literal, Address>();

function constantAddress(literal: Literal): Address {
  let address = constants.get(literal);
  if (address === undefined) {
    const { data, splat, type } = literal;
    if (!(data instanceof Uint8Array)) throw new Error('a constant was not read before it was needed');
    const bytes = new Uint8Array(splat ? data.length * maxElements(type) : data.length);
    for (let at = 0; at < bytes.length; at += data.length) bytes.set(data, at);
    address = { bytes, offset: 0 };
    constants.set(literal, address);
  }
  return address;
}

/** What the memory of one call of a function is. */
interface Frame {
  readonly base: Address;
  readonly parameters: readonly (Address | undefined)[];
  readonly results: readonly (Address | undefined)[];
}

export class PlanRun {
  readonly #plan: Plan;
  readonly #scratch: Uint8Array;
  /** Of main. */
  readonly #results: readonly Address[];
  readonly #dims: DimValues;
  readonly #evaluatorOf: (kernel: Kernel) => Evaluator;

  /** `run`: what carries out a kernel. */
  constructor(plan: Plan, dims: DimValues, run: (kernel: Kernel) => Evaluator = evaluatorOf) {
    this.#plan = plan;
    this.#evaluatorOf = run;
    this.#scratch = new Uint8Array(plan.scratchBytes);
    this.#results = plan.resultBytes.map((bytes) => ({ bytes: new Uint8Array(bytes), offset: 0 }));
    this.#dims = dims;
  }

  /** Main on its frame; `parameters`: memory of weights and state, by position. */
  run(frame: Uint8Array, parameters: readonly (Address | undefined)[]): readonly (Address | undefined)[] {
    const { main } = this.#plan;
    const env: Frame = { base: { bytes: frame, offset: 0 }, parameters, results: this.#results };
    this.#function(main, env);
    return main.results.map((memory) => memory && this.#address(memory, env));
  }

  /** Where the inputs of main go. */
  inputs(frame: Uint8Array, parameters: readonly (Address | undefined)[]): readonly (Address | undefined)[] {
    const env: Frame = { base: { bytes: frame, offset: 0 }, parameters, results: this.#results };
    return this.#plan.main.parameters.map((memory) => memory && this.#address(memory, env));
  }

  #function(plan: FunctionPlan, frame: Frame): void {
    this.#steps(plan.steps, frame);
  }

  #steps(steps: readonly Step[], frame: Frame): void {
    for (const step of steps) this.#step(step, frame);
  }

  #step(step: Step, frame: Frame): void {
    switch (step.kind) {
      case 'launch':
        this.#evaluatorOf(step.kernel)(
          step.memory.map((memory) => this.#address(memory, frame)),
          this.#dims,
        );
        return;
      case 'copy': {
        const [to, from] = step.memory.map((memory) => this.#address(memory, frame));
        if (to.bytes.buffer === from.bytes.buffer && start(to) === start(from)) return;
        this.#evaluatorOf(step.kernel)([to, from], this.#dims);
        return;
      }
      case 'call': {
        const func = this.#plan.functions.get(step.func);
        if (func === undefined) throw new Error('a function has no plan');
        const given = (memory: Memory | undefined) => memory && this.#address(memory, frame);
        this.#function(func, {
          base: { bytes: frame.base.bytes, offset: frame.base.offset + step.frame },
          parameters: step.parameters.map(given),
          results: step.results.map(given),
        });
        return;
      }
      case 'exchange':
      case 'finish':
        throw unsupported({ name: 'custom_call' }, 'an exchange with other processes');
      case 'composite':
        throw unsupported({ name: 'composite' }, 'a composite that is not inlined');
      case 'branch': {
        const { bytes, offset } = this.#address(step.choice, frame);
        const choice = new DataView(bytes.buffer, bytes.byteOffset + offset);
        const last = step.branches.length - 1;
        const index = step.op === 'if' ? (choice.getUint8(0) !== 0 ? 0 : 1) : choice.getInt32(0, true);
        this.#steps(step.branches[index >= 0 && index <= last ? index : last], frame);
        return;
      }
      case 'while':
        for (;;) {
          this.#steps(step.before, frame);
          const { bytes, offset } = this.#address(step.condition, frame);
          if (bytes[offset] === 0) return;
          this.#steps(step.body, frame);
        }
      default:
        step satisfies never;
    }
  }

  #address(memory: Memory, frame: Frame): Address {
    switch (memory.kind) {
      case 'frame':
        return { bytes: frame.base.bytes, offset: frame.base.offset + memory.offset };
      case 'parameter':
      case 'result': {
        const given = frame[memory.kind === 'parameter' ? 'parameters' : 'results'][memory.index];
        if (given === undefined) throw new Error(`${memory.kind} ${memory.index} has no memory`);
        return { bytes: given.bytes, offset: given.offset + memory.offset };
      }
      case 'constant':
        return constantAddress(memory.literal);
      case 'scratch':
        return { bytes: this.#scratch, offset: memory.offset };
      default:
        return memory satisfies never;
    }
  }
}

function start({ bytes, offset }: Address): number {
  return bytes.byteOffset + offset;
}
