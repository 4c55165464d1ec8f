/**
 * Programs as StableHLO's MLIR text. `parseModule` and `programOf` make the same program of it, and so does upstream
 * where no symbolic dimension is left: roles, formats, names and aliases are discardable attributes of `main`.
 */
import type { Func, Program, Region, Value } from '../program.ts';
import type { Sharding } from '../sharding.ts';
import { type Dim, formatType, resolveDim, type Type } from '../types.ts';
import { type BodyPrinter, printOp } from './assembly.ts';
import { aliasAttribute } from './attribute-text.ts';
import {
  type PrintOptions,
  printAttribute,
  printFields,
  printString,
  printSymbol,
  resolveType,
} from './print-attribute.ts';
import { extentsAttribute, printMesh, printSharding, shardingAttribute } from './sharding-text.ts';

export type { PrintOptions } from './print-attribute.ts';

/** A program as MLIR text, which `parseModule` and upstream's parser read. */
export function printProgram(program: Program, options: PrintOptions = {}): string {
  const aliased = new Map(program.aliases.map(({ result, parameter }) => [parameter, result]));
  const parameters = program.parameters.map(({ name, role, format, sharding }, i) => {
    const fields = shardingFields(sharding);
    if (name !== `arg${i}`) fields.push(['ingot.name', printString(name)]);
    if (role !== 'input') fields.push(['ingot.role', printString(role)]);
    if (format !== undefined) fields.push(['ingot.format', printString(format)]);
    const result = aliased.get(i);
    if (result !== undefined) fields.push([aliasAttribute, `${result} : i32`]);
    return fields;
  });
  const results = program.results.map(({ name, sharding }, i): [string, string][] => [
    ...shardingFields(sharding),
    ...(name === `result${i}` ? [] : [['ingot.name', printString(name)] satisfies [string, string]]),
  ]);
  const main = new FunctionPrinter(options).func(program.main, 'public', parameters, results);
  const others = [...program.functions.values()].map((func) => new FunctionPrinter(options).func(func, 'private'));
  const mesh = program.mesh === undefined ? '' : printMesh(program.mesh);
  return `module${moduleAttributes(program)} {\n${[mesh, main, ...others].join('')}}\n`;
}

function shardingFields(sharding: Sharding | undefined): [string, string][] {
  if (sharding === undefined) return [];
  const fields: [string, string][] = [[shardingAttribute, `#${shardingAttribute}${printSharding(sharding)}`]];
  // Shardy cannot say how many elements each rank has.
  const extents = sharding.dims.map((dim) => dim.extents ?? []);
  if (extents.some(({ length }) => length > 0)) fields.push([extentsAttribute, printAttribute(extents)]);
  return fields;
}

/** The grid of processes, as JAX states it. */
function moduleAttributes({ processes }: Program): string {
  if (processes === undefined) return '';
  const fields = Object.entries(processes).map(([axis, count]) => [`mhlo.num_${axis}`, `${count} : i32`] as const);
  return ` attributes ${printFields(fields)}`;
}

type Fields = readonly (readonly [string, string])[];

function dictionary(fields: Fields | undefined): string {
  return fields === undefined || fields.length === 0 ? '' : ` ${printFields(fields)}`;
}

class FunctionPrinter implements BodyPrinter {
  readonly options: PrintOptions;
  readonly #names = new Map<Value, string>();
  #arguments = 0;
  #results = 0;
  #indent = 1;

  constructor(options: PrintOptions) {
    this.options = options;
  }

  func(
    func: Func,
    visibility: 'public' | 'private',
    parameters?: readonly Fields[],
    results?: readonly Fields[],
  ): string {
    const names = this.parameters(func);
    const inputs = names.map(
      (name, i) => `${name}: ${this.type(func.parameters[i].type)}${dictionary(parameters?.[i])}`,
    );
    const outputs = func.results.map(({ type }, i) => this.type(type) + dictionary(results?.[i]));
    const arrow = outputs.length === 0 ? '' : ` -> (${outputs.join(', ')})`;
    return `  func.func ${visibility} ${printSymbol(func.name)}(${inputs.join(', ')})${arrow} ${this.block(func)}\n`;
  }

  // ── what ops ask for ──

  value(value: Value): string {
    return this.#names.get(value) ?? '%<undefined>';
  }

  type(type: Type): string {
    return formatType(resolveType(type, this.options.dims));
  }

  dim(dim: Dim): string {
    if (typeof dim === 'number') return String(dim);
    return this.options.dims === undefined ? '?' : String(resolveDim(dim, this.options.dims));
  }

  parameters(region: Region, names?: readonly string[]): readonly string[] {
    return region.parameters.map((value, i) => {
      const name = names?.[i] ?? `%arg${this.#arguments++}`;
      this.#names.set(value, name);
      return name;
    });
  }

  block(region: Region, label?: string): string {
    this.#indent++;
    const margin = '  '.repeat(this.#indent);
    const outer = margin.slice(2);
    const lines = region.body.map((op) => {
      const results = this.#define(op.results);
      return `${margin}${results}${printOp(op, this)}\n`;
    });
    const values = region.results.map((value) => this.value(value)).join(', ');
    const types = region.results.map(({ type }) => this.type(type)).join(', ');
    const name = 'name' in region ? 'return' : 'stablehlo.return';
    const end = region.results.length === 0 ? name : `${name} ${values} : ${types}`;
    this.#indent--;
    const head = label === undefined ? '' : `${outer}${label}\n`;
    return `{\n${head}${lines.join('')}${margin}${end}\n${outer}}`;
  }

  /** `%3 = ` or `%3:2 = `. */
  #define(results: readonly Value[]): string {
    if (results.length === 0) return '';
    const name = `%${this.#results++}`;
    results.forEach((value, i) => {
      this.#names.set(value, results.length === 1 ? name : `${name}#${i}`);
    });
    return `${name}${results.length === 1 ? '' : `:${results.length}`} = `;
  }
}
