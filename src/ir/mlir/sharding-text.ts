/**
 * Meshes and shardings as text of Shardy's dialect (https://openxla.org/shardy/sdy_dialect): `<["x"=2, "y"=4]>` and
 * `<@mesh, [{"x"}, {?}, {"y", ?}p1], replicated={"z"}>`.
 */
import { IngotError } from '../../base/errors.ts';
import type { Mesh } from '../mesh.ts';
import type { DimSharding, Sharding } from '../sharding.ts';
import { Lexer } from './lexer.ts';
import { printString } from './print-attribute.ts';

export const meshSymbol = 'mesh';

export function printMesh({ axes }: Mesh): string {
  return `<[${axes.map(({ name, size }) => `${printString(name)}=${size}`).join(', ')}]>`;
}

export function printSharding({ dims, replicated }: Sharding): string {
  const list = (names: readonly string[]) => names.map(printString).join(', ');
  const printed = dims.map(({ axes, open, priority }) => {
    const names = [...axes.map(printString), ...(open ? ['?'] : [])].join(', ');
    return `{${names}}${priority === undefined ? '' : `p${priority}`}`;
  });
  const rest = replicated.length === 0 ? '' : `, replicated={${list(replicated)}}`;
  return `<@${meshSymbol}, [${printed.join(', ')}]${rest}>`;
}

/** @throws IngotError 'ParseError'; 'UnsupportedOp' for axes that are split or parts that are unreduced. */
export function parseSharding(text: string): Sharding {
  const lexer = new Lexer(text);
  const sharding = readSharding(lexer);
  if (!lexer.atEnd) lexer.fail('expected the end of the sharding');
  return sharding;
}

export function readSharding(lexer: Lexer): Sharding {
  lexer.expect('<');
  lexer.symbol('the name of a mesh');
  lexer.expect(',');
  lexer.expect('[');
  const dims = lexer.list(']', (): DimSharding => {
    lexer.expect('{');
    const axes: string[] = [];
    let open = false;
    lexer.list('}', () => {
      if (lexer.accept('?')) open = true;
      else axes.push(axisName(lexer));
    });
    const priority = /^p(\d+)$/.exec(lexer.peekWord() ?? '');
    if (priority === null) return { axes, open };
    lexer.acceptWord();
    return { axes, open, priority: Number(priority[1]) };
  });
  const replicated: string[] = [];
  while (lexer.accept(',')) {
    const at = lexer.mark();
    const key = lexer.word('what else the sharding says');
    if (key !== 'replicated') lexer.unsupported(`${key} of a sharding`, at);
    lexer.expect('=');
    lexer.expect('{');
    lexer.list('}', () => replicated.push(axisName(lexer)));
  }
  lexer.expect('>');
  return { dims, replicated };
}

function axisName(lexer: Lexer): string {
  const at = lexer.mark();
  const name = lexer.string('the name of an axis');
  if (lexer.peek() === ':') lexer.unsupported('a part of a mesh axis', at);
  return name;
}

/** @throws IngotError 'ParseError', 'UnsupportedOp' for meshes with an order of devices of their own. */
export function readMesh(lexer: Lexer): Mesh {
  lexer.expect('<');
  lexer.expect('[');
  const axes = lexer.list(']', () => {
    const name = lexer.string('the name of an axis');
    lexer.expect('=');
    const size = Number(lexer.acceptNumber() ?? lexer.fail('expected the size of an axis'));
    return { name, size };
  });
  if (lexer.peek() === ',')
    throw new IngotError('UnsupportedOp', 'meshes that order devices are not supported', { op: 'sdy.mesh' });
  lexer.expect('>');
  return { axes };
}
