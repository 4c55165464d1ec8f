/** A text for an expression of the loop language, by which equal ones are found; axes, locals and buffers are named by identity. */
import type { Axis, Buffer, Expression, Local } from './language.ts';

const identities = new WeakMap<object, number>();
let nextIdentity = 0;
/** A number for each axis, local and buffer that was ever asked for. */
export function identity(thing: Axis | Local | Buffer): number {
  let id = identities.get(thing);
  if (id === undefined) {
    id = nextIdentity++;
    identities.set(thing, id);
  }
  return id;
}

/** Equal for expressions that compute the same at the same place. */
export function keyOf(e: Expression): string {
  switch (e.kind) {
    case 'constant':
      return `${Object.is(e.value, -0) ? '-0' : e.value}:${e.type}`;
    case 'axis':
      return `a${identity(e.axis)}`;
    case 'dim':
      return e.sym;
    case 'local':
      return `l${identity(e.local)}`;
    case 'load':
      return `b${identity(e.buffer)}[${keyOf(e.index)}]`;
    case 'unary':
      return `${e.op}<${e.type}>(${keyOf(e.x)})`;
    case 'is_finite':
    case 'convert':
    case 'bitcast':
      return `${e.kind}<${e.type},${e.x.type}>(${keyOf(e.x)})`;
    case 'binary':
    case 'compare':
      return `${e.op}<${e.type},${e.a.type}>(${keyOf(e.a)},${keyOf(e.b)})`;
    case 'select':
      return `select(${keyOf(e.condition)},${keyOf(e.a)},${keyOf(e.b)})`;
    default:
      return e satisfies never;
  }
}
