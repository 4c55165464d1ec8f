/** The engine in a worker thread: the contract of engines. */
import { openEngine } from '../../src/engine/open-node.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { repositoryPath } from '../fixtures.ts';
import { testEngine } from './engine-suite.ts';

const path = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
await using checkpoint = await openCheckpoint(path);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata });

testEngine('in a worker', (options) => openEngine(path, { ...options, device: 'reference' }), tokenizer);
