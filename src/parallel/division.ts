/**
 * The programs of ranks, as a device of several ranks needs them: by what was chosen for its first program, so that all share weights and
 * state; and what an earlier start has left of the same division, with which none is made at all.
 */
import { checkDivided } from '../compiler/partition/check-divided.ts';
import { type Choice, localProgram, type RankProgram } from '../compiler/partition/partition.ts';
import { planOf } from '../compiler/partition/plan.ts';
import { type Layout, layoutKey } from '../compiler/partition/split.ts';
import type { Mesh } from '../ir/mesh.ts';
import type { Program } from '../ir/program.ts';
import { deferProgram, type Outline, outlineOf, programText } from '../ir/program-text.ts';

/** The program of a rank, and how its parameters lie. */
export type LocalProgram = Pick<RankProgram, 'program' | 'parameters'>;

/** The same before it is made. */
interface KnownProgram extends Pick<RankProgram, 'parameters'> {
  readonly outline: Outline;
  readonly text: string;
}

/** By which choices a program was divided, and what ranks got. */
export interface Divided {
  readonly choices: readonly Choice[];
  readonly ranks: readonly KnownProgram[];
}

/** How programs were divided, kept between starts: choosing takes long, to do as was chosen less, to read what came of it nearly nothing. */
export interface KeptDivisions {
  find(program: Program): Divided | undefined;
  keep(program: Program, divided: Divided): void;
}

/** What ranks take of the weights of a model, by parameter, kept between starts: known before there is a program, so that reading begins at once. */
export interface KeptLayouts {
  find(): ReadonlyMap<string, Layout> | undefined;
  keep(layouts: ReadonlyMap<string, Layout>): void;
}

export interface DivisionOptions {
  readonly divisions?: KeptDivisions | undefined;
  readonly layouts?: KeptLayouts | undefined;
}

export class Division {
  readonly #mesh: Mesh;
  readonly #ranks: number;
  readonly #kept: DivisionOptions;
  #choices: readonly Choice[] | undefined;
  /** What ranks took of weights at an earlier start. */
  readonly layouts: ReadonlyMap<string, Layout> | undefined;

  constructor(mesh: Mesh, ranks: number, kept: DivisionOptions) {
    this.#mesh = mesh;
    this.#ranks = ranks;
    this.#kept = kept;
    this.layouts = kept.layouts?.find();
  }

  /** By rank. @throws IngotError 'Usage' if nothing of the first program is worth dividing. */
  of(program: Program): readonly LocalProgram[] {
    const known = this.#kept.divisions?.find(program);
    const fits =
      known !== undefined && JSON.stringify(this.#choices ?? known.choices) === JSON.stringify(known.choices);
    const isFirst = this.#choices === undefined;
    const locals = fits ? this.#again(program, known) : this.#anew(program);
    if (isFirst) this.#keepLayouts(program, locals[0]);
    return locals;
  }

  #again(program: Program, { choices, ranks }: Divided): readonly LocalProgram[] {
    this.#choices = choices;
    return ranks.map(({ outline, text, parameters }, rank) => {
      const make = () => localProgram(planOf(program, this.#mesh, { choices }), rank).program;
      return { program: deferProgram(outline, text, make), parameters };
    });
  }

  #anew(program: Program): readonly LocalProgram[] {
    const plan = planOf(program, this.#mesh, this.#choices === undefined ? {} : { choices: this.#choices });
    // Of later programs, what they have in common with the first is divided, be it nothing.
    if (this.#choices === undefined) checkDivided(plan);
    this.#choices ??= plan.choices;
    const locals = Array.from({ length: this.#ranks }, (_, rank) => localProgram(plan, rank));
    if (this.#kept.divisions === undefined) return locals;
    const ranks = locals.flatMap(({ program, parameters }): readonly KnownProgram[] => {
      const text = programText(program);
      return text === undefined ? [] : [{ outline: outlineOf(program), text, parameters }];
    });
    if (ranks.length < locals.length) return locals;
    this.#kept.divisions.keep(program, { choices: this.#choices, ranks });
    return ranks.map(({ outline, text, parameters }, rank) => {
      return { program: deferProgram(outline, text, () => locals[rank].program), parameters };
    });
  }

  #keepLayouts({ parameters }: Program, { parameters: lie }: LocalProgram): void {
    const own = parameters.flatMap(({ name, role }, i) => (role === 'weight' ? [[name, lie[i]] as const] : []));
    const isKnown = own.every(([name, layout]) => {
      const known = this.layouts?.get(name);
      return known !== undefined && layoutKey(known) === layoutKey(layout);
    });
    if (!isKnown) this.#kept.layouts?.keep(new Map(own));
  }
}
