/** A process that begins to pack a model into a folder and never ends: for another to kill it. Arguments: model, folder. */
import { openDevice } from '../../src/devices/open-node.ts';
import { openWeights } from '../../src/engine/open-model-node.ts';
import { cachedWeights } from '../../src/engine/weight-cache-node.ts';
import { withReads } from './weight-cache-reads.ts';

const [, , path, folder] = process.argv;
await using source = await openWeights(path);
await using device = await openDevice('cpu', { threads: 1 });
setInterval(() => {}, 1000);
await cachedWeights(
  folder,
  withReads(source, () => new Promise(() => {})),
  device,
);
