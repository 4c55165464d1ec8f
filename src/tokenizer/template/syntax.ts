/**
 * The syntax tree of a template, as `@huggingface/jinja` parses it (its `ast.ts`): a union, so that whoever walks it is told
 * what is missing. A template that is too long, or on which the lexer's patterns would take long, is not parsed.
 */
import { Template } from '@huggingface/jinja';
import { IngotError } from '../../base/errors.ts';

type Literal<Type extends string, T> = { readonly type: Type; readonly value: T };
export type Identifier = Literal<'Identifier', string>;
export type Call = { readonly type: 'CallExpression'; readonly callee: Expression; readonly args: readonly Argument[] };
/** The name of a filter, and what it is given. */
export type Filter = Identifier | (Call & { readonly callee: Identifier });

export type Argument =
  | Expression
  | { readonly type: 'KeywordArgumentExpression'; readonly key: Identifier; readonly value: Expression }
  | { readonly type: 'SpreadExpression' | 'KeywordSpreadExpression'; readonly argument: Expression };

export type Slice = {
  readonly type: 'SliceExpression';
  readonly start?: Expression;
  readonly stop?: Expression;
  readonly step?: Expression;
};

export type Expression =
  | Identifier
  | Call
  | Slice
  | Literal<'IntegerLiteral' | 'FloatLiteral', number>
  | Literal<'StringLiteral', string>
  | Literal<'ArrayLiteral' | 'TupleLiteral', readonly Expression[]>
  | Literal<'ObjectLiteral', ReadonlyMap<Expression, Expression>>
  | {
      readonly type: 'MemberExpression';
      readonly object: Expression;
      readonly property: Expression;
      readonly computed: boolean;
    }
  | {
      readonly type: 'BinaryExpression';
      readonly operator: { readonly value: string };
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly type: 'UnaryExpression';
      readonly operator: { readonly value: string };
      readonly argument: Expression;
    }
  | { readonly type: 'FilterExpression'; readonly operand: Expression; readonly filter: Filter }
  | {
      readonly type: 'TestExpression';
      readonly operand: Expression;
      readonly negate: boolean;
      readonly test: Identifier;
    }
  /** `lhs if test`, without an else: over what a loop goes, or a value. */
  | { readonly type: 'SelectExpression'; readonly lhs: Expression; readonly test: Expression }
  | {
      readonly type: 'Ternary';
      readonly condition: Expression;
      readonly trueExpr: Expression;
      readonly falseExpr: Expression;
    };

export type Parameter =
  | Identifier
  | { readonly type: 'KeywordArgumentExpression'; readonly key: Identifier; readonly value: Expression };

export type Body = readonly Statement[];

export type Statement =
  | Expression
  | Literal<'Comment', string>
  | { readonly type: 'Break' | 'Continue' }
  | { readonly type: 'If'; readonly test: Expression; readonly body: Body; readonly alternate: Body }
  | {
      readonly type: 'For';
      readonly loopvar: Expression;
      readonly iterable: Expression;
      readonly body: Body;
      readonly defaultBlock: Body;
    }
  | {
      readonly type: 'Set';
      readonly assignee: Expression;
      readonly value: Expression | null;
      readonly body: Body;
    }
  | {
      readonly type: 'Macro';
      readonly name: Identifier;
      readonly args: readonly Parameter[];
      readonly body: Body;
    }
  | {
      readonly type: 'CallStatement';
      readonly call: Call;
      readonly callerArgs: readonly Parameter[] | null;
      readonly body: Body;
    }
  | { readonly type: 'FilterStatement'; readonly filter: Filter; readonly body: Body };

/** Real ones have some 20,000 characters at most. */
const MAX_LENGTH = 1 << 18;
/** The lexer's time grows with the square of a run of white space. */
const LONG_RUN = /\s{500}/;

/** @throws IngotError 'ParseError' for what is no template, or too large for one. */
export function parseTemplate(source: string): Body {
  if (source.length > MAX_LENGTH || LONG_RUN.test(source)) {
    throw unreadable(`it has ${source.length} characters, at most ${MAX_LENGTH} are allowed, 500 of space on end`);
  }
  try {
    // The library gives its nodes no types that tell them apart.
    return new Template(source).parsed.body as unknown as Body;
  } catch (cause) {
    throw unreadable(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function unreadable(why: string, cause?: unknown): IngotError {
  return new IngotError('ParseError', `the chat template is not valid: ${why}`, {
    hint: 'give another template, or prompt with plain text',
    cause,
  });
}
