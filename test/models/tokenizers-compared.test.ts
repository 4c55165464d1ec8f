/**
 * Tokenizers of every kind against Hugging Face's own `tokenizers` (Rust), ids and texts: on random strings, the same each time,
 * where a Python with it is at hand. `test/unit/tokenizer-goldens.test.ts` has a few that need none.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { repositoryPath } from '../fixtures.ts';

const python = process.env.INGOT_PYTHON ?? 'python3';
const probe = spawnSync(python, ['-c', 'import tokenizers; raise SystemExit(tokenizers.__version__ < "0.22")']);
const skip = probe.status !== 0 && `${python} cannot import tokenizers 0.22 or newer: set INGOT_PYTHON to one that can`;
const seed = '1';
/** Of each of some 45 tokenizers; more by the environment variable. */
const count = Number(process.env.INGOT_COMPARED_STRINGS ?? 200);

const folder = mkdtempSync(join(tmpdir(), 'ingot-tokenizers-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Compared {
  readonly name: string;
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[];
}

test('ids and texts are those of the Rust library', { skip }, async () => {
  const script = repositoryPath('test', 'models', 'make-tokenizers.py');
  const { status, stdout, stderr } = spawnSync(python, [script, 'compare', seed, String(count), folder], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    env: { ...process.env, TOKENIZERS_PARALLELISM: 'false', OMP_NUM_THREADS: '1' },
  });
  assert.equal(status, 0, stderr);
  let strings = 0;
  for (const line of stdout.trim().split('\n')) {
    const { name, cases }: Compared = JSON.parse(line);
    const file = memoryBytes(new Uint8Array(readFileSync(join(folder, `${name}.json`))));
    const tokenizer = await loadTokenizer({ kind: 'huggingface', companions: new Map([['tokenizer.json', file]]) });
    for (const { text, ids, decoded } of cases) {
      const where = `seed ${seed}, ${name}: ${JSON.stringify(text.slice(0, 2000))}`;
      assert.deepEqual(tokenizer.encode(text, { parseSpecial: true }), ids, where);
      assert.equal(tokenizer.decode(ids), decoded, where);
      strings++;
    }
  }
  // With the longer ones of each.
  assert.ok(strings >= 50 * count, `${strings} strings`);
});
