/** Every StableHLO file that Ingot did not write parses, or names the op, type or attribute that programs do not have. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { type Module, parseModule, programOf, splitModules } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import { isOpName } from '../../src/ir/ops/table.ts';
import { verify } from '../../src/ir/verify.ts';

const folder = process.env.INGOT_TEST_DATA && join(process.env.INGOT_TEST_DATA, 'stablehlo');
const skip = !folder && 'INGOT_TEST_DATA is not set';

/** What files may name besides ops: a type or an attribute that the program has not. */
const others = /^(?:element type|type|quantized type|dynamic dimension|function without a body)/;

/** A program with no main begins with its last function, which can reach all before it. */
function entryOf(module: Module): string | undefined {
  return module.functions.has('main') ? 'main' : [...module.functions.keys()].at(-1);
}

test('files parse and print to a fixed point, or are not supported yet', { skip }, () => {
  if (!folder) return;
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.mlir'));
  const count = { parsed: 0, unsupported: 0 };
  for (const name of files.sort()) {
    for (const text of splitModules(readFileSync(join(folder, name), 'utf8'))) {
      try {
        const module = parseModule(text, name);
        count.parsed++;
        const entry = entryOf(module);
        if (entry === undefined) continue;
        const program = programOf(module, entry);
        verify(program);
        const printed = printProgram(program);
        const again = printProgram(programOf(parseModule(printed, `${name}, printed`), entry));
        if (again !== printed) assert.fail(`${name}: printed, parsed and printed it is another`);
      } catch (error) {
        if (!isIngotError(error, 'UnsupportedOp')) throw error;
        count.unsupported++;
        const { op = '', line } = error.place;
        assert.ok(line !== undefined, `${name}: no line`);
        const outside = others.test(op) || !isOpName(op.replace(/^stablehlo\./, ''));
        assert.ok(outside, `${name}:${line} says that ${op} is not supported`);
      }
    }
  }
  // Parts of hand-written files count each. May only rise, with the ops.
  assert.ok(files.length >= 1335, `${files.length} files`);
  assert.ok(count.parsed >= 1458, JSON.stringify(count));
});
