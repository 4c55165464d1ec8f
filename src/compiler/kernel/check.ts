/** What every kernel must be, beyond its types; tests hold every lowered kernel to it. */
import { operandsOf } from './expressions.ts';
import type { Axis, Expression, Kernel, Local, Statement } from './language.ts';

/** Throws an Error that says what is wrong. */
export function checkKernel(kernel: Kernel): void {
  new Checker(kernel).statements(kernel.body, new Set(), false);
}

class Checker {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  #fail(what: string): never {
    throw new Error(`${this.#kernel.name}: ${what}`);
  }

  /** `known`: axes and locals in scope. */
  statements(
    list: readonly Statement[],
    outer: ReadonlySet<Axis | Local>,
    straight: boolean,
  ): ReadonlySet<Axis | Local> {
    const known = new Set(outer);
    for (const s of list) this.#statement(s, known, straight);
    return known;
  }

  #statement(s: Statement, known: Set<Axis | Local>, straight: boolean): void {
    switch (s.kind) {
      case 'let':
        this.#expression(s.value, known, s.local.type);
        known.add(s.local);
        return;
      case 'set':
        if (!known.has(s.local)) this.#fail(`${s.local.name} is set before it is defined`);
        this.#expression(s.value, known, s.local.type);
        return;
      case 'store':
        this.#touch(s.buffer, false);
        this.#expression(s.index, known, 'index');
        this.#expression(s.value, known, s.buffer.element);
        if (s.where !== undefined) this.#expression(s.where, known, 'i1');
        return;
      case 'for':
        this.#expression(s.axis.extent, known, 'index');
        if (straight && s.axis.kind !== 'serial') this.#fail(`${s.axis.kind} ${s.axis.name} inside of lanes`);
        this.statements(s.body, new Set(known).add(s.axis), straight || s.axis.kind === 'vector');
        return;
      case 'reduce': {
        for (const { extent } of s.axes) this.#expression(extent, known, 'index');
        this.#expression(s.init, known, s.into.type);
        const inside = this.statements(s.body, new Set([...known, ...s.axes]), true);
        this.#expression(s.value, inside, s.into.type);
        known.add(s.into);
        return;
      }
      case 'if':
        if (straight) this.#fail('a branch inside of lanes');
        this.#expression(s.condition, known, 'i1');
        this.statements(s.body, known, false);
        this.statements(s.otherwise, known, false);
        return;
      case 'while': {
        if (straight) this.#fail('a loop of unknown length inside of lanes');
        const inside = this.statements(s.before, known, false);
        this.#expression(s.condition, inside, 'i1');
        this.statements(s.body, inside, false);
        return;
      }
      default:
        s satisfies never;
    }
  }

  #touch(buffer: Kernel['buffers'][number], reads: boolean): void {
    const { buffers, privates } = this.#kernel;
    if (!(buffer.access === 'private' ? privates : buffers).includes(buffer))
      this.#fail(`${buffer.name} is not of this kernel`);
    if (buffer.access === (reads ? 'write' : 'read')) this.#fail(`${buffer.name} is for ${buffer.access} only`);
  }

  #expression(e: Expression, known: ReadonlySet<Axis | Local>, type: Expression['type']): void {
    if (e.type !== type) this.#fail(`${e.kind} of ${e.type} where ${type} is wanted`);
    if (e.kind === 'axis' && !known.has(e.axis)) this.#fail(`${e.axis.name} is used outside of its loop`);
    if (e.kind === 'local' && !known.has(e.local)) this.#fail(`${e.local.name} is used where it is not defined`);
    if (e.kind === 'dim' && !this.#kernel.dims.includes(e.sym)) this.#fail(`${e.sym} is not passed`);
    if (e.kind === 'load') this.#touch(e.buffer, true);
    operandsOf(e).forEach((operand, i) => {
      this.#expression(operand, known, operandType(e, operand, i));
    });
  }
}

function operandType(e: Expression, operand: Expression, i: number): Expression['type'] {
  switch (e.kind) {
    case 'load':
      return 'index';
    case 'select':
      return i === 0 ? 'i1' : e.type;
    case 'compare':
      return e.a.type;
    case 'unary':
    case 'binary':
      return e.type;
    default:
      return operand.type;
  }
}
