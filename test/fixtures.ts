/** Where tests find files: fixtures in the repository, and outside data by one setting. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Tests run from dist/test; fixtures stay in test/. */
const root = fileURLToPath(new URL('../../', import.meta.url));

export function repositoryPath(...parts: string[]): string {
  return join(root, ...parts);
}

export function fixtures(kind: 'unit' | 'conformance' | 'models' | 'system'): string {
  return repositoryPath('test', kind, 'fixtures');
}

/** Folder of outside data, or why tests that need it are skipped. */
export const testData = process.env.INGOT_TEST_DATA;
export const skipWithoutData = testData === undefined && 'INGOT_TEST_DATA is not set';

export function dataPath(...parts: string[]): string {
  return join(testData ?? '', ...parts);
}
