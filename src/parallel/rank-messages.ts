/**
 * What a front asks of the device of a rank, and what that answers: fields of frames. Whatever comes is checked field by
 * field. Programs are MLIR text, a weight is the name of a parameter and what is taken of it, which the rank reads from a
 * model file of its own.
 */
import { IngotError } from '../base/errors.ts';
import type { MemoryKind } from '../devices/device.ts';
import { type DimValues, dimSymbols, type TensorType } from '../ir/types.ts';
import { type ElementType, elementTypes } from '../numerics/element-types.ts';
import type { Fields } from './frames.ts';

/**
 * A question. Those with a `handle` make something, which later ones name by it. `submit` is answered when the run has ended;
 * `write` and `free` are answered only if they fail.
 */
export type Question =
  | { readonly kind: 'open'; readonly settings: RankSettings }
  | { readonly kind: 'compile'; readonly handle: number; readonly passes: boolean }
  | {
      readonly kind: 'pack';
      readonly handle: number;
      readonly parameter: string;
      readonly ranges: readonly (Ranges | null)[];
    }
  | { readonly kind: 'allocate'; readonly handle: number; readonly type: TensorType; readonly memory: MemoryKind }
  | {
      readonly kind: 'bind';
      readonly handle: number;
      readonly executable: number;
      readonly weights: NamedHandles;
      readonly state: NamedHandles;
    }
  | {
      readonly kind: 'submit';
      readonly bound: number;
      /** Names of the parts. */
      readonly inputs: readonly string[];
      readonly dims: DimValues;
      /** Whether somebody looks at the results. */
      readonly results: boolean;
    }
  | { readonly kind: 'write'; readonly buffer: number; readonly offset: number }
  | { readonly kind: 'read'; readonly buffer: number; readonly offset: number; readonly length: number }
  | { readonly kind: 'free'; readonly handle: number }
  | { readonly kind: 'close' };

type Ranges = readonly { readonly start: number; readonly limit: number }[];
type NamedHandles = readonly (readonly [string, number])[];

/** How a rank opens its device and its model. */
export interface RankSettings {
  /** A path, or a name of the hub; the bundled model if absent. */
  readonly model?: string;
  readonly device?: string;
  readonly threads: number;
  readonly mlock: boolean;
}

function malformed(what: string): IngotError {
  return new IngotError('ParseError', `a rank is sent ${what}`);
}

/** A whole number from 0. */
function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(`${JSON.stringify(value)} as '${name}'`);
}

function word(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw malformed(`${JSON.stringify(value)} as '${name}'`);
}

function list(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name];
  if (Array.isArray(value)) return value;
  throw malformed(`no list as '${name}'`);
}

function record(value: unknown, name: string): Fields {
  if (typeof value === 'object' && value !== null) return value as Fields;
  throw malformed(`no record as '${name}'`);
}

function ranges(value: unknown): Ranges | null {
  if (value === null) return null;
  return list({ ranges: value }, 'ranges').map((each) => {
    const range = record(each, 'range');
    return { start: count(range, 'start'), limit: count(range, 'limit') };
  });
}

function handles(fields: Fields, name: string): NamedHandles {
  return list(fields, name).map((each) => {
    const [parameter, handle] = list({ pair: each }, 'pair');
    return [word(parameter, name), count({ handle }, 'handle')];
  });
}

const isElement = (value: unknown): value is ElementType =>
  typeof value === 'string' && Object.hasOwn(elementTypes, value);
const kinds: readonly MemoryKind[] = ['weights', 'state', 'scratch'];

function typeOf(value: unknown): TensorType {
  const { element, shape } = record(value, 'type');
  if (!isElement(element)) throw malformed(`${JSON.stringify(element)} as an element type`);
  const dims = list({ shape }, 'shape').map((dim, i) => {
    if (typeof dim === 'number') return count({ dim }, 'dim');
    const { sym, max } = record(dim, 'dim');
    const symbol = dimSymbols.find((each) => each === sym);
    if (symbol === undefined || i > 0) throw malformed('a dimension that is none');
    return { sym: symbol, max: count({ max }, 'max') };
  });
  return { kind: 'tensor', element, shape: dims };
}

/** @throws IngotError 'ParseError'. */
export function readQuestion(fields: Fields): Question {
  switch (fields.kind) {
    case 'open': {
      const { model, device, mlock, ...rest } = record(fields.settings, 'settings');
      return {
        kind: 'open',
        settings: {
          threads: count(rest, 'threads'),
          mlock: mlock === true,
          ...(model !== undefined && { model: word(model, 'model') }),
          ...(device !== undefined && { device: word(device, 'device') }),
        },
      };
    }
    case 'compile':
      return { kind: 'compile', handle: count(fields, 'handle'), passes: fields.passes === true };
    case 'pack': {
      const parameter = word(fields.parameter, 'parameter');
      return { kind: 'pack', handle: count(fields, 'handle'), parameter, ranges: list(fields, 'ranges').map(ranges) };
    }
    case 'allocate': {
      const memory = kinds.find((kind) => kind === fields.memory);
      if (memory === undefined) throw malformed(`${JSON.stringify(fields.memory)} as a kind of memory`);
      return { kind: 'allocate', handle: count(fields, 'handle'), type: typeOf(fields.type), memory };
    }
    case 'bind':
      return {
        kind: 'bind',
        handle: count(fields, 'handle'),
        executable: count(fields, 'executable'),
        weights: handles(fields, 'weights'),
        state: handles(fields, 'state'),
      };
    case 'submit': {
      const given = record(fields.dims, 'dims');
      const dims = dimSymbols.flatMap((symbol) => (symbol in given ? [[symbol, count(given, symbol)] as const] : []));
      return {
        kind: 'submit',
        bound: count(fields, 'bound'),
        inputs: list(fields, 'inputs').map((name) => word(name, 'input')),
        dims: Object.fromEntries(dims),
        results: fields.results === true,
      };
    }
    case 'write':
      return { kind: 'write', buffer: count(fields, 'buffer'), offset: count(fields, 'offset') };
    case 'read': {
      const [buffer, offset, length] = ['buffer', 'offset', 'length'].map((name) => count(fields, name));
      return { kind: 'read', buffer, offset, length };
    }
    case 'free':
      return { kind: 'free', handle: count(fields, 'handle') };
    case 'close':
      return { kind: 'close' };
    default:
      throw malformed(`${JSON.stringify(fields.kind)}, which is no question`);
  }
}
