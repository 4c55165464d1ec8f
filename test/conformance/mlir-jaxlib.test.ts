/** Upstream's own parser and verifier read what Ingot prints, and Ingot reads what upstream prints. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { compile } from '../../src/compiler/compile.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseModule, programOf } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import type { Program } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { openModel } from '../../src/models/architectures.ts';
import { repositoryPath } from '../fixtures.ts';
import { namedSamples } from '../unit/mlir-samples.ts';

/** Texts come in as a JSON list; for each goes out its error, or the module as upstream prints it, short and generic. */
const script = `
import json, sys
from jaxlib.mlir import ir
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import stablehlo
registry = ir.DialectRegistry()
_jax_mlir_ext.register_dialects(registry)
answers = []
with ir.Context() as context:
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    stablehlo.register_dialect(context)
    for text in json.load(sys.stdin):
        try:
            module = ir.Module.parse(text)
            module.operation.verify()
            generic = module.operation.get_asm(print_generic_op_form=True)
            answers.append({'text': str(module), 'generic': generic})
        except Exception as error:
            answers.append({'error': str(error)})
json.dump(answers, sys.stdout)
`;

type Answer =
  | { readonly error: string }
  | { readonly error?: undefined; readonly text: string; readonly generic: string };

const python = process.env.INGOT_PYTHON ?? 'python3';
const missing = spawnSync(python, ['-c', 'import jaxlib.mlir.ir'], { encoding: 'utf8' });
const skip = missing.status === 0 ? false : `${python} cannot import jaxlib: set INGOT_PYTHON to one that can`;

function upstream(texts: readonly string[]): Answer[] {
  const child = spawnSync(python, ['-c', script], {
    input: JSON.stringify(texts),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

const dims = { T: 5, S: 2, R: 3 };
const T = { sym: 'T', max: 8 } as const;

function withRoles(): Program {
  return new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('bf16', [T, 4]), role: 'input' },
      { name: 'w', type: tensor('bf16', [4]), role: 'weight', format: 'q8_0' },
      { name: 'cache', type: tensor('f32', [16, 4]), role: 'state' },
    ],
    (b, { x, w, cache }) => ({ y: rmsNorm(b, x, w, 1e-5), cache: b.negate(cache) }),
    { cache: 'cache' },
  );
}

test('upstream accepts every op, composites, roles and aliases, and prints what parses to the same program', {
  skip,
}, () => {
  const programs = [...namedSamples(), { name: 'with roles', program: withRoles() }];
  const texts = programs.map(({ program }) => printProgram(program, { dims }));
  const answers = upstream(texts);
  const refused = answers.flatMap(({ error }, i) =>
    error === undefined ? [] : [`${programs[i].name}: ${error}\n${texts[i]}`],
  );
  assert.deepEqual(refused, []);
  answers.forEach((answer, i) => {
    if (answer.error !== undefined) return;
    for (const text of [answer.text, answer.generic]) {
      assert.equal(printProgram(programOf(parseModule(text, programs[i].name))), texts[i], text);
    }
  });
});

test('upstream accepts a whole language model, as it is built and as it is compiled', { skip }, async () => {
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const limits = {
    maxTokens: 8,
    maxSequences: 2,
    maxRows: 4,
    blockSize: 16,
    blockCount: 32,
    blocksPerSequence: 16,
    maxBias: 4,
  };
  const results = ['sample', 'logits'] as const;
  const program = openModel(checkpoint).build({ limits, kv: 'bf16', numerics: 'i8', results });
  for (const { error } of upstream([program, compile(program)].map((p) => printProgram(p, { dims })))) {
    assert.equal(error, undefined);
  }
});

const folder = process.env.INGOT_TEST_DATA && join(process.env.INGOT_TEST_DATA, 'stablehlo', 'testdata');

/** Upstream reads a file and writes it in generic form: what Ingot then reads must be what it reads in the file itself. */
test('files mean to Ingot what they mean to upstream', {
  skip: skip || (!folder && 'INGOT_TEST_DATA is not set'),
}, () => {
  if (!folder) return;
  const files = readdirSync(folder).filter((name) => name.endsWith('.mlir'));
  const texts = new Map<string, { readonly original: string; readonly printed: string }>();
  const kinds = new Map<string, number>();
  for (const name of files) {
    // A few of each kind: hundreds of files differ in their numbers alone.
    const kind = name.slice(0, 7);
    const seen = (kinds.get(kind) ?? 0) + 1;
    kinds.set(kind, seen);
    if (seen > 3) continue;
    const original = readFileSync(join(folder, name), 'utf8');
    if (original.length > 50_000) continue;
    try {
      texts.set(name, { original, printed: printProgram(programOf(parseModule(original, name))) });
    } catch (error) {
      if (!isIngotError(error, 'UnsupportedOp')) throw error;
    }
  }
  const names = [...texts.keys()];
  const answers = upstream([...texts.values()].flatMap(({ original, printed }) => [original, printed]));
  names.forEach((name, i) => {
    for (const answer of answers.slice(2 * i, 2 * i + 2)) {
      assert.equal(answer.error, undefined, name);
      const text = answer.error === undefined ? answer.generic : '';
      assert.equal(printProgram(programOf(parseModule(text, name))), texts.get(name)?.printed, name);
    }
  });
  assert.ok(names.length > 150, `only ${names.length} files`);
});
