/** Asking llama.cpp, which the package node-llama-cpp brings: where it is, and a process that answers (`llama-cpp-child.ts`). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { repositoryPath } from '../fixtures.ts';
import type { Answer, Question } from './llama-cpp-child.ts';

const installed = repositoryPath('.llama', 'node_modules', 'node-llama-cpp');
const llamaCpp = process.env.INGOT_LLAMA_CPP ?? (existsSync(installed) ? installed : undefined);

export const skipWithoutLlamaCpp =
  llamaCpp === undefined &&
  'skipped, because there is no llama.cpp: scripts/setup-tests.sh installs it, INGOT_LLAMA_CPP names another';

/** An answer for each question, in their order. */
export function askLlamaCpp(questions: readonly Question[]): readonly Answer[] {
  const child = fileURLToPath(new URL('llama-cpp-child.js', import.meta.url));
  const options = { input: JSON.stringify(questions), encoding: 'utf8', maxBuffer: 1 << 30 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [child, llamaCpp ?? ''], options);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as readonly Answer[];
}
