/** What ranks read of a model's weights: nothing before it is known what each has, and of what is divided by rows each row once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteSource } from '../../src/base/bytes.ts';
import type { DeviceBuffer } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { stepLimits } from '../../src/engine/step-limits.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { KeptLayouts } from '../../src/parallel/division.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { createMeshDevice } from '../../src/parallel/mesh-device.ts';
import { modelFolder } from './golden.ts';

const size = 2;

/** Sources that keep what is read of them. */
class Counted implements ByteSource {
  readonly name: string;
  readonly length: number;
  readonly ranges: { readonly start: number; readonly limit: number }[] = [];
  readonly #source: ByteSource;

  constructor(source: ByteSource) {
    this.name = source.name;
    this.length = source.length;
    this.#source = source;
  }

  read(offset: number, length: number) {
    this.ranges.push({ start: offset, limit: offset + length });
    return this.#source.read(offset, length);
  }

  get bytes(): number {
    return this.ranges.reduce((sum, { start, limit }) => sum + limit - start, 0);
  }
}

test('each rank reads its own rows of a weight, and all of what every rank has', async () => {
  await using checkpoint = await openCheckpoint(modelFolder('llama'));
  const model = openModel(checkpoint);
  let layouts: Parameters<KeptLayouts['keep']>[0] = new Map();
  const keep: KeptLayouts['keep'] = (known) => {
    layouts = known;
  };
  const ranks = createHostGroup(size).map((communicator) => ({ device: createReferenceDevice(), communicator }));
  const options = { layouts: { find: () => undefined, keep } };
  await using device = createMeshDevice(parseMesh(`tensor=${size}`), ranks, options);
  const limits = stepLimits(model, { contextLength: 32 });
  const program = model.build({ limits, kv: 'f32', numerics: 'f32', results: ['sample'] });

  const sources = new Map<string, Counted>();
  const packed = new Map<string, DeviceBuffer>();
  for (const [name, stored] of model.weights) {
    const bytes = new Counted(stored.bytes);
    sources.set(name, bytes);
    packed.set(name, await device.pack({ ...stored, parameter: name, bytes }));
  }
  const state = new Map<string, DeviceBuffer>();
  for (const { name, type, role } of program.parameters)
    if (role === 'state') state.set(name, await device.allocate(type, 'state'));
  using executable = await device.compile(program);
  for (const [name, { bytes }] of sources) assert.equal(bytes, 0, name);

  using _ = await device.bind(executable, packed, state);
  let divided = 0;
  for (const [name, source] of sources) {
    const [rows, ...others] = layouts.get(name)?.splits ?? [];
    if (others.some((split) => split !== undefined)) continue;
    if (rows === undefined) assert.equal(source.bytes, size * source.length, name);
    else if (rows.disjoint) {
      divided++;
      assert.equal(source.bytes, source.length, name);
      let end = 0;
      for (const { start, limit } of source.ranges.toSorted((a, b) => a.start - b.start)) {
        assert.equal(start, end, name);
        end = limit;
      }
    }
  }
  assert.ok(divided >= model.layers, `${divided} weights are divided by rows`);
});
