/** What one rank has of the values of the whole program, region by region, while its program is made. */
import { IngotError } from '../../base/errors.ts';
import type { Builder } from '../../ir/build.ts';
import type { Value } from '../../ir/program.ts';
import type { Layout } from './split.ts';

/** What a rank has of a value. */
export interface Local {
  readonly value: Value;
  readonly layout: Layout;
  /** The value in the whole program. */
  readonly origin: Value;
}

/** What is known at a place in a region: values of the whole program, and what has been moved already. */
export class Scope {
  readonly b: Builder;
  readonly #parent: Scope | undefined;
  readonly #locals = new Map<Value, Local>();
  readonly #moved = new Map<Value, Map<string, Value>>();
  /** Parts whose only use has taken them as they are, of all regions. */
  readonly #passed: Set<Value>;

  constructor(b: Builder, parent?: Scope) {
    this.b = b;
    this.#parent = parent;
    this.#passed = parent === undefined ? new Set() : parent.#passed;
  }

  get(value: Value): Local {
    const local = this.#locals.get(value) ?? this.#parent?.get(value);
    if (local === undefined) throw new IngotError('InvalidProgram', 'a value is used that is not defined before');
    return local;
  }

  set(value: Value, local: Local): void {
    this.#locals.set(value, local);
  }

  /** Parts of this region that nobody has folded or passed on yet, but `local`. */
  waiting(local: Local): readonly Local[] {
    return [...this.#locals.values()].filter(
      ({ value, layout }) =>
        layout.partial !== undefined && value !== local.value && !this.#moved.has(value) && !this.#passed.has(value),
    );
  }

  /** Parts are parts of something else from now on. */
  passOn({ value }: Local): void {
    this.#passed.add(value);
  }

  /** `local` in another layout, made here if nobody has. */
  moved({ value }: Local, key: string, make: () => Value): Value {
    const known = this.#find(value, key);
    if (known !== undefined) return known;
    const made = make();
    const all = this.#moved.get(value) ?? new Map<string, Value>();
    all.set(key, made);
    this.#moved.set(value, all);
    return made;
  }

  #find(value: Value, key: string): Value | undefined {
    const known = this.#moved.get(value)?.get(key);
    if (known !== undefined || this.#parent === undefined) return known;
    return this.#parent.#find(value, key);
  }
}
