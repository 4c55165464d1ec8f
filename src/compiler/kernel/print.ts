/** A kernel as text, for people and for tests: one statement a line, indented by loop. */
import type { Buffer, Expression, Kernel, Statement } from './language.ts';

export function printKernel(kernel: Kernel): string {
  const dims = kernel.dims.length === 0 ? '' : ` (${kernel.dims.join(', ')})`;
  const buffers = [...kernel.buffers, ...kernel.privates].map((buffer) => `  ${printBuffer(buffer)}`);
  return [`kernel ${kernel.name}${dims}`, ...buffers, ...kernel.body.flatMap((s) => printStatement(s, '  '))].join(
    '\n',
  );
}

/** Name and extents of the loops: `multiply_reduce [T] over [256]`. */
export function kernelTitle({ name, body }: Pick<Kernel, 'name' | 'body'>): string {
  const loops: string[] = [];
  let inner = body;
  for (;;) {
    const loop = inner.find((statement) => statement.kind === 'for');
    if (loop?.kind !== 'for') break;
    loops.push(printExpression(loop.axis.extent));
    inner = loop.body;
  }
  const reduce = inner.find((statement) => statement.kind === 'reduce');
  const folded = reduce?.kind === 'reduce' ? reduce.axes.map(({ extent }) => printExpression(extent)) : [];
  return `${name} [${loops.join(', ')}]${folded.length > 0 ? ` over [${folded.join(', ')}]` : ''}`;
}

function printBuffer({ access, name, element, elements }: Buffer): string {
  return `${access} ${name}: ${element}[${elements}]`;
}

/** The first line of a statement, without what its loops contain. */
export function statementHead(statement: Statement): string {
  return printStatement(statement, '')[0] ?? '';
}

function printStatement(statement: Statement, indent: string): string[] {
  const inner = (list: readonly Statement[]) => list.flatMap((s) => printStatement(s, `${indent}  `));
  switch (statement.kind) {
    case 'let':
      return [`${indent}let ${statement.local.name}: ${statement.local.type} = ${printExpression(statement.value)}`];
    case 'set':
      return [`${indent}${statement.local.name} = ${printExpression(statement.value)}`];
    case 'store': {
      const { buffer, index, value, where } = statement;
      const when = where === undefined ? '' : ` where ${printExpression(where)}`;
      return [`${indent}${buffer.name}[${printExpression(index)}] = ${printExpression(value)}${when}`];
    }
    case 'for': {
      const { name, kind, extent } = statement.axis;
      return [`${indent}${kind} ${name} < ${printExpression(extent)}`, ...inner(statement.body)];
    }
    case 'reduce': {
      const { op, axes, body, value, init, into } = statement;
      const loops = axes.map(({ name, extent }) => `${name} < ${printExpression(extent)}`).join(', ');
      return [
        `${indent}let ${into.name}: ${into.type} = ${op} from ${printExpression(init)} over ${loops}`,
        ...inner(body),
        `${indent}  of ${printExpression(value)}`,
      ];
    }
    case 'if': {
      const { condition, body, otherwise } = statement;
      const rest = otherwise.length === 0 ? [] : [`${indent}else`, ...inner(otherwise)];
      return [`${indent}if ${printExpression(condition)}`, ...inner(body), ...rest];
    }
    case 'while':
      return [
        `${indent}while`,
        ...inner(statement.before),
        `${indent}  holds ${printExpression(statement.condition)}`,
        ...inner(statement.body),
      ];
    default:
      return statement satisfies never;
  }
}

const infix: Readonly<Partial<Record<string, string>>> = {
  add: '+',
  subtract: '-',
  multiply: '*',
  divide: '/',
  remainder: '%',
  and: '&',
  or: '|',
  xor: '^',
};
const relations = { EQ: '==', NE: '!=', LT: '<', LE: '<=', GT: '>', GE: '>=' } as const;

export function printExpression(e: Expression): string {
  const p = printExpression;
  switch (e.kind) {
    case 'constant':
      return e.type === 'index' ? String(e.value) : `${Object.is(e.value, -0) ? '-0' : e.value}:${e.type}`;
    case 'axis':
      return e.axis.name;
    case 'dim':
      return e.sym;
    case 'local':
      return e.local.name;
    case 'load':
      return `${e.buffer.name}[${p(e.index)}]`;
    case 'unary':
      return `${e.op}(${p(e.x)})`;
    case 'binary': {
      const sign = infix[e.op];
      return sign === undefined ? `${e.op}(${p(e.a)}, ${p(e.b)})` : `(${p(e.a)} ${sign} ${p(e.b)})`;
    }
    case 'compare':
      return `(${p(e.a)} ${relations[e.op]} ${p(e.b)})`;
    case 'is_finite':
      return `is_finite(${p(e.x)})`;
    case 'select':
      return `(${p(e.condition)} ? ${p(e.a)} : ${p(e.b)})`;
    case 'convert':
    case 'bitcast':
      return `${e.kind}<${e.type}>(${p(e.x)})`;
    default:
      return e satisfies never;
  }
}
