/** What the worker thread of a rank runs: the device, for one front after another. The main thread answers meanwhile that the rank is alive. */
import { once } from 'node:events';
import { parentPort } from 'node:worker_threads';
import { modelAreas } from '../devices/cpu/self-test/areas.ts';
import { openDevice } from '../devices/open-node.ts';
import { findModel } from '../hub/find-model.ts';
import { listenForFronts } from '../parallel/rank-link.ts';
import type { RankSettings } from '../parallel/rank-messages.ts';
import { frontServer, type ServedDevice } from '../parallel/rank-server.ts';
import { keptOutlines } from './kept-divisions-node.ts';
import { modelDigest } from './model-digest-node.ts';
import { openWeights } from './open-model-node.ts';
import type { RankWork } from './rank-node.ts';

const port = parentPort;
if (port === null) throw new Error('this file runs in a worker thread only');
const [{ communicator, listen, secret, epoch }] = (await once(port, 'message')) as [RankWork];

async function open({ model: path, device: name, threads, mlock }: RankSettings): Promise<ServedDevice> {
  const source = await openWeights(await findModel(path));
  try {
    const { model } = source;
    // Programs come later, in any numerics.
    const areas = modelAreas(model.weights.values(), true);
    const digest = await modelDigest(model);
    const device = await openDevice(name, { threads, mlock, areas });
    return {
      ...{ device, communicator, digest, weights: model.weights, outlines: keptOutlines() },
      async [Symbol.asyncDispose]() {
        await device[Symbol.asyncDispose]();
        await source[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

const serve = frontServer(open);
const listener = await listenForFronts(listen, secret, { purpose: 'device', epoch }, serve);
// No front comes any more.
port.once('message', () => {
  listener.close();
  port.close();
});
port.postMessage(listener.port);
