/**
 * Meshes and shardings as text of Shardy's dialect (https://openxla.org/shardy/sdy_dialect): `<["x"=2, "y"=4]>` and
 * `<@mesh, [{"x"}, {?}, {"y", ?}p1], replicated={"z"}>`.
 */
import type { Mesh } from '../mesh.ts';
import type { DimSharding, Sharding } from '../sharding.ts';
import { Lexer } from './lexer.ts';
import { printString } from './print-attribute.ts';

/** On arguments and results. */
export const shardingAttribute = 'sdy.sharding';
/** Beside it, a list for each dimension: the elements of each rank, where they are stated. */
export const extentsAttribute = 'ingot.extents';
/** Programs have one mesh. */
const meshName = 'mesh';

/** The line of a module that defines its mesh. */
export function printMesh({ axes }: Mesh): string {
  const sizes = axes.map(({ name, size }) => `${printString(name)}=${size}`);
  return `  sdy.mesh @${meshName} = <[${sizes.join(', ')}]>\n`;
}

export function printSharding({ dims, replicated }: Sharding): string {
  const printed = dims.map(({ axes, open, priority }) => {
    const names = [...axes.map(printString), ...(open ? ['?'] : [])].join(', ');
    return `{${names}}${priority === undefined ? '' : `p${priority}`}`;
  });
  const rest = replicated.length === 0 ? '' : `, replicated={${replicated.map(printString).join(', ')}}`;
  return `<@${meshName}, [${printed.join(', ')}]${rest}>`;
}

/** With or without the name of the attribute before it. @throws IngotError 'ParseError', 'UnsupportedOp'. */
export function parseSharding(text: string): Sharding {
  const name = `#${shardingAttribute}`;
  const lexer = new Lexer(text.startsWith(name) ? text.slice(name.length) : text);
  const sharding = readSharding(lexer);
  if (!lexer.atEnd) lexer.fail('expected the end of the sharding');
  return sharding;
}

/** @throws IngotError 'ParseError'; 'UnsupportedOp' for parts of axes, and for sums that are not done. */
export function readSharding(lexer: Lexer): Sharding {
  lexer.expect('<');
  lexer.symbol('the name of a mesh');
  lexer.expect(',');
  lexer.expect('[');
  const dims = lexer.list(']', () => readDim(lexer));
  const replicated: string[] = [];
  while (lexer.accept(',')) {
    const at = lexer.mark();
    const key = lexer.word('what else the sharding says');
    if (key !== 'replicated') lexer.unsupported(`${key} of a sharding`, at);
    lexer.expect('=');
    lexer.expect('{');
    lexer.list('}', () => replicated.push(readAxis(lexer)));
  }
  lexer.expect('>');
  return { dims, replicated };
}

function readDim(lexer: Lexer): DimSharding {
  lexer.expect('{');
  const axes: string[] = [];
  let open = false;
  lexer.list('}', () => {
    if (lexer.accept('?')) open = true;
    else axes.push(readAxis(lexer));
  });
  const [, priority] = /^p(\d+)$/.exec(lexer.peekWord() ?? '') ?? [];
  if (priority === undefined) return { axes, open };
  lexer.acceptWord();
  return { axes, open, priority: Number(priority) };
}

function readAxis(lexer: Lexer): string {
  const at = lexer.mark();
  const name = lexer.string('the name of an axis');
  if (lexer.peek() === ':') lexer.unsupported('a part of a mesh axis', at);
  return name;
}

/** Behind its name. @throws IngotError 'ParseError', 'UnsupportedOp' for meshes that order devices. */
export function readMesh(lexer: Lexer): Mesh {
  lexer.expect('=');
  lexer.expect('<');
  lexer.expect('[');
  const axes = lexer.list(']', () => {
    const name = lexer.string('the name of an axis');
    lexer.expect('=');
    return { name, size: lexer.integer('the size of an axis') };
  });
  if (lexer.peek() === ',') lexer.unsupported('a mesh with an order of devices', lexer.at);
  lexer.expect('>');
  return { axes };
}
