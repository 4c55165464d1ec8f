/** Damaged texts: whatever is wrong, the parser says so by a typed error, soon, and prints what it does accept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { parseModule, programOf } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import { ops } from '../../src/ir/ops/table.ts';
import { namedSamples } from './mlir-samples.ts';
import { processorTime } from './processor-time.ts';

const texts = namedSamples().map(({ program }) => printProgram(program));
/** Pieces of all texts: what damage is made of. */
const pieces = [...new Set(texts.flatMap((text) => text.match(/[\w.#%@!^"]+|[^\s\w]/g) ?? []))].slice(0, 600);
pieces.push(
  '-1',
  '99999999999999999999',
  '1e999',
  '"0x',
  '// -----',
  '\0',
  '\u{1F600}',
  '4x',
  '?x',
  'dense<"0xFF">',
  '#0',
);

const edit = fc.record({
  at: fc.nat({ max: 1 << 20 }),
  remove: fc.oneof(fc.constant(0), fc.nat({ max: 12 })),
  insert: fc.oneof(
    fc.constant(''),
    fc.constantFrom(...pieces),
    fc.constantFrom(...pieces).map((piece) => ` ${piece} `),
  ),
});

function damaged(text: string, edits: readonly { at: number; remove: number; insert: string }[]): string {
  return edits.reduce((current, { at, remove, insert }) => {
    const start = at % (current.length + 1);
    return current.slice(0, start) + insert + current.slice(start + remove);
  }, text);
}

/** How the text fared; anything but an IngotError passes through. */
function outcome(text: string): 'parsed' | 'refused' {
  try {
    const program = programOf(parseModule(text));
    printProgram(program);
    return 'parsed';
  } catch (error) {
    if (!isIngotError(error)) throw error;
    const codes = ['ParseError', 'UnsupportedOp', 'InvalidProgram'];
    assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    if (error.code !== 'InvalidProgram') assert.ok(error.place.line !== undefined, error.message);
    return 'refused';
  }
}

test('damaged texts are parsed or refused', () => {
  const count = { parsed: 0, refused: 0 };
  const started = processorTime();
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
      count[outcome(damaged(text, edits))]++;
    }),
    { seed: 20_240_817, numRuns: 6000 },
  );
  // Both happen, or the damage is too small or too large to find anything.
  assert.ok(count.parsed > 100 && count.refused > 1000, JSON.stringify(count));
  assert.ok(processorTime() - started < 60_000, 'too slow');
});

test('cut texts are refused', () => {
  for (const text of texts) {
    for (let i = 0; i < 20; i++)
      assert.equal(outcome(text.slice(0, Math.floor((text.length - 2) * (i / 20)))), 'refused');
  }
});

test('noise is refused', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 40 }), (words) => {
      outcome(words.join(' '));
      outcome(`module { func.func @main(%arg0: tensor<2x3xf32>) { %0 = ${words.join(' ')} return } }`);
    }),
    { seed: 7, numRuns: 1500 },
  );
});

const values = [
  'tensor<2x3xf32>',
  'tensor<i32>',
  'tensor<f32>',
  'tensor<0x4xi1>',
  'tensor<?x4xf32, #ingot.dim<T, 8>>',
  'tensor<4xi64>',
  'tensor<2xcomplex<f32>>',
];
const inputs = values.map((type, i) => `%v${i}: ${type}`).join(', ');
const value = fc.nat({ max: values.length - 1 });
/** Attributes of the samples, and some that fit nothing. */
const attributes = [
  ...new Set(texts.flatMap((text) => [...text.matchAll(/<\{(.*?)\}>/g)].flatMap(([, fields]) => fields))),
  '',
  'slice_sizes = array<i64>',
  'slice_sizes = array<i64: 1, ?>',
  'dimensions = array<i64: 9, -1>',
  'permutation = [1.5]',
  'index = -1 : i32',
  'iota_dimension = -1 : i64',
  'padding = dense<1> : tensor<99999x99999xi64>, window_dimensions = array<i64: 1, 0>',
  'dot_dimension_numbers = #stablehlo.dot<rhs_contracting_dimensions = [5]>',
  'edge_padding_low = array<i64: -9, 0>, edge_padding_high = array<i64: 0, 0>, interior_padding = array<i64: 0, -1>',
  'start_indices = array<i64: 0, 0>, limit_indices = array<i64: 1, ?>, strides = array<i64: 1, 0>',
];

test('ops whose operands, attributes and regions do not fit are refused', () => {
  const list = (indices: readonly number[]) => indices.map((i) => `%v${i}`).join(', ');
  const typesOf = (indices: readonly number[]) => indices.map((i) => values[i]).join(', ');
  const few = fc.array(value, { maxLength: 4 });
  const region = fc.tuple(few, few).map(([takes, gives]) => {
    const label = takes.map((i, at) => `%p${at}: ${values[i]}`).join(', ');
    return `{ ^bb0(${label}): "stablehlo.return"(${list(gives)}) : (${typesOf(gives)}) -> () }`;
  });
  const op = fc.record({
    name: fc.constantFrom(...Object.keys(ops)),
    operands: few,
    fields: fc.constantFrom(...attributes),
    regions: fc.array(region, { maxLength: 2 }),
    results: fc.array(value, { maxLength: 2 }),
  });
  fc.assert(
    fc.property(op, ({ name, operands, fields, regions, results }) => {
      const full = name === 'call' ? 'func.call' : `stablehlo.${name}`;
      const parts = [`"${full}"(${list(operands)}) <{${fields}}>`];
      if (regions.length > 0) parts.push(`(${regions.join(', ')})`);
      parts.push(`: (${typesOf(operands)}) -> (${typesOf(results)})`);
      outcome(`func.func @main(${inputs}) { ${parts.join(' ')} return }`);
    }),
    { seed: 3, numRuns: 10_000 },
  );
});
