/** Ranks in other processes, without the processes: connections, what they refuse, and a device that is at the other end of one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { compile } from '../../src/compiler/compile.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Outline } from '../../src/ir/program-text.ts';
import { tensor } from '../../src/ir/types.ts';
import { FrameReader, frameBytes } from '../../src/parallel/frames.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { keepAlive, PulseAnswers, watchPulse } from '../../src/parallel/pulse.ts';
import type { RankAddress } from '../../src/parallel/rank-group.ts';
import { dialRank, listenForFronts, type RankLink } from '../../src/parallel/rank-link.ts';
import { readQuestion } from '../../src/parallel/rank-messages.ts';
import { frontServer } from '../../src/parallel/rank-server.ts';
import { openRemoteDevice } from '../../src/parallel/remote-device.ts';

const secret = '5e'.repeat(32);
const epoch = 3;
const T = { sym: 'T', max: 4 } as const;
const [rows, columns] = [2, 3];

/** Adds x times the weights to the state, and gives that. */
const program = new ProgramBuilder().program(
  [
    { name: 'x', type: tensor('f32', [T, rows]), role: 'input' },
    { name: 'w', type: tensor('f32', [rows, columns]), role: 'weight', format: 'f32' },
    { name: 'sums', type: tensor('f32', [columns]), role: 'state' },
  ],
  (b, { x, w, sums }) => {
    const y = b.dot(x, w, { contract: [[1, 0]] });
    return { sums: b.add(sums, b.reduce('add', y, 0, [0])), y };
  },
  { sums: 'sums' },
);

const stored = {
  name: 'tensor of a file',
  format: 'f32',
  shape: [rows + 1, columns],
  bytes: memoryBytes(new Uint8Array(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9]).buffer)),
};

/** A rank that serves fronts, and hears their pulse. */
async function openRank(onServed: (link: RankLink) => void = () => {}) {
  const [communicator] = createHostGroup(1);
  const links: RankLink[] = [];
  const outlines = new Map<string, Outline>();
  let ended: Promise<void> = Promise.resolve();
  const serve = frontServer(async () => {
    const device = createReferenceDevice();
    return {
      ...{ device, communicator, digest: 'digest', weights: new Map([['w', stored]]) },
      outlines: { find: (text) => outlines.get(text), keep: (text, outline) => outlines.set(text, outline) },
      [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
    };
  });
  const listener = await listenForFronts('127.0.0.1', secret, { purpose: 'device', epoch }, (link) => {
    onServed(link);
    ended = serve(link);
  });
  let answers = true;
  const lost: number[] = [];
  const silences: boolean[] = [];
  const asked = new PulseAnswers({
    onLost: (rank) => lost.push(rank),
    onSilence: (isSilent) => silences.push(isSilent),
  });
  const pulse = await listenForFronts('127.0.0.1', secret, { purpose: 'pulse', epoch }, (link) => {
    links.push(link);
    if (answers) asked.answer(link, () => {});
    else
      link.listen(
        () => {},
        () => {},
      );
  });
  const address: RankAddress = {
    ...{ kind: 'process', name: 'rank 1', host: 'here', hosts: ['127.0.0.1'], secret, threads: 1 },
    ...{ devicePort: listener.port, pulsePort: pulse.port },
  };
  return {
    ...{ address, lost, links, silences, outlines },
    ended: () => ended,
    fallSilent() {
      answers = false;
    },
    [Symbol.dispose]() {
      asked[Symbol.dispose]();
      listener.close();
      pulse.close();
    },
  };
}

const settings = { threads: 1, mlock: false };
const numbers = (view: ArrayBufferView | undefined) => {
  assert.ok(view !== undefined);
  return [...new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4)];
};

test('a device at the other end of a connection computes, keeps state and says what is wrong as one here', async () => {
  using rank = await openRank();
  const device = await openRemoteDevice(rank.address, { epoch, settings, results: true, onLost: () => assert.fail() });
  assert.equal(device.digest, 'digest');
  assert.equal(device.name, 'reference');
  assert.equal(device.packedBytes(stored), createReferenceDevice().packedBytes(stored));
  using _ = await device.compile(program, compile);
  // Now the rank knows what the text takes and gives.
  const executable = await device.compile(program, compile);
  assert.equal(rank.outlines.size, 1);
  // Of the three rows the rank is to take the last two.
  const part = { ...stored, shape: [rows, columns], ranges: [[{ start: 1, limit: 3 }], undefined] };
  const weights = new Map([['w', await device.pack({ ...part, parameter: 'w' })]]);
  const sums = await device.allocate(tensor('f32', [columns]), 'state');
  const bound = await device.bind(executable, weights, new Map([['sums', sums]]));
  device.write(sums, Float32Array.of(100), 4);
  const runs = [1, 2].map((factor) => {
    const x = Float32Array.from([factor, 0, 0, factor]);
    const ticket = device.submit(bound, new Map([['x', x]]), { T: 2 });
    // What was submitted is taken over.
    x.fill(NaN);
    return ticket;
  });
  const results: number[][] = [];
  for (const run of runs) results.push(numbers((await device.wait(run, Number.POSITIVE_INFINITY)).get('y')));
  assert.deepEqual(results, [
    [4, 5, 6, 7, 8, 9],
    [8, 10, 12, 14, 16, 18],
  ]);
  assert.deepEqual(numbers(await device.read(sums)), [33, 139, 45]);
  assert.deepEqual(numbers(await device.read(sums, 4, 4)), [139]);
  assert.ok(device.memory().weights.now > 0);
  assert.equal(device.profile().runs, 2);

  await assert.rejects(
    device.pack({ ...part, parameter: 'other' }),
    (error) => isIngotError(error, 'InvalidArgument') && /no weight other/.test(error.message),
  );
  await assert.rejects(device.pack(part), (error) => isIngotError(error, 'InvalidArgument'));
  const wrong = device.submit(bound, new Map([['x', new Float32Array(1)]]), { T: 2 });
  await assert.rejects(device.wait(wrong, Number.POSITIVE_INFINITY), (error) => isIngotError(error, 'InvalidArgument'));
  const aborted = device.submit(bound, new Map([['x', new Float32Array(4)]]), { T: 2 });
  await assert.rejects(device.wait(aborted, Number.POSITIVE_INFINITY, AbortSignal.abort()), (error) =>
    isIngotError(error, 'Aborted'),
  );
  await device[Symbol.asyncDispose]();
  await rank.ended();
});

test('a rank works for one front at a time, and then for the next', async () => {
  using rank = await openRank();
  const options = { epoch, settings, results: true, onLost: () => assert.fail() };
  const first = await openRemoteDevice(rank.address, options);
  await assert.rejects(
    openRemoteDevice(rank.address, options),
    (error) => isIngotError(error, 'InvalidArgument') && /works for another front/.test(error.message),
  );
  await first.allocate(tensor('f32', [4]), 'state');
  await first[Symbol.asyncDispose]();
  await using second = await openRemoteDevice(rank.address, options);
  assert.equal(second.memory().state.now, 0);
});

test('a rank that is gone is lost to all that waits for it, at once', async () => {
  let drop: () => void = () => {};
  using rank = await openRank((link) => {
    drop = () => link.drop();
  });
  const losses: string[] = [];
  const onLost = (error: Error) => losses.push(error.message);
  await using device = await openRemoteDevice(rank.address, { epoch, settings, results: true, onLost });
  const pending = device.allocate(tensor('f32', [4]), 'state');
  drop();
  await assert.rejects(pending, (error) => isIngotError(error, 'RankLost') && /rank 1 is gone/.test(error.message));
  await assert.rejects(device.allocate(tensor('f32', [4]), 'state'), (error) => isIngotError(error, 'RankLost'));
  assert.deepEqual(losses, ['rank 1 is gone']);
});

test('a rank that answers nothing is lost', async () => {
  using rank = await openRank();
  rank.fallSilent();
  const lost = await new Promise<Error>((resolve, reject) => {
    // The timer of the pulse keeps no process alive.
    const held = setTimeout(() => reject(new Error('nothing was lost')), 120_000);
    watchPulse(rank.address, epoch, (error) => {
      clearTimeout(held);
      resolve(error);
    }).catch(reject);
  });
  assert.ok(isIngotError(lost, 'RankLost'));
  assert.match(lost.message, /has not answered for 1.5 s/);
  for (const link of rank.links) link.drop();
});

test('a rank that nobody asks any more notices, and that somebody does again', async () => {
  using rank = await openRank();
  const until = async (silences: readonly boolean[]) => {
    while (rank.silences.length < silences.length) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(rank.silences, silences);
  };
  const watch = () => watchPulse(rank.address, epoch, () => assert.fail());
  (await watch())[Symbol.dispose]();
  await until([true]);
  using _ = await watch();
  await until([true, false]);
});

test('when one of a group is gone the others are told who', async () => {
  const group = await Promise.all([openRank(), openRank(), openRank()]);
  using _ = await keepAlive(
    group.map(({ address }) => address),
    epoch,
  );
  for (const link of group[1].links) link.drop();
  const others = [group[0], group[2]];
  while (others.some(({ lost }) => lost.length === 0)) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(
    group.map(({ lost }) => lost),
    [[1], [], [1]],
  );
  for (const rank of group) rank[Symbol.dispose]();
});

test('a group of which one cannot be reached is given up', async () => {
  using rank = await openRank();
  using other = await openRank();
  const wrong = { ...other.address, secret: '00'.repeat(32) };
  await assert.rejects(keepAlive([rank.address, wrong], epoch), (error) => isIngotError(error, 'RankLost'));
});

test('whoever does not know the secret, or is of another epoch, reaches nothing', async () => {
  using rank = await openRank(() => assert.fail('it was taken'));
  const { address } = rank;
  const greeting = { purpose: 'device', epoch } as const;
  const refused = (error: unknown) => isIngotError(error, 'RankLost');
  await assert.rejects(dialRank({ ...address, secret: '00'.repeat(32) }, address.devicePort, greeting), refused);
  // What it is for is part of the proof.
  await assert.rejects(dialRank(address, address.devicePort, { purpose: 'pulse', epoch }), refused);
  await assert.rejects(
    dialRank(address, address.devicePort, { ...greeting, epoch: epoch - 1 }),
    (error) => isIngotError(error, 'InvalidArgument') && /epoch 2 speaks to a rank of epoch 3/.test(error.message),
  );
  // Before the greeting nothing long is taken.
  const closed = await new Promise<boolean>((resolve) => {
    const socket = connect(address.devicePort, '127.0.0.1', () => {
      const prefix = Buffer.alloc(8);
      prefix.writeUInt32LE(1 << 20, 0);
      socket.write(prefix);
    });
    socket.on('error', () => {});
    socket.resume().on('close', () => resolve(true));
  });
  assert.ok(closed);
});

test('an end that is no rank does not pass for one', async () => {
  // It knows everything but the secret, and repeats what it hears.
  const other = await listenForFronts('127.0.0.1', '11'.repeat(32), { purpose: 'device', epoch }, () => {});
  const address = { name: 'rank 1', hosts: ['127.0.0.1'], secret };
  await assert.rejects(dialRank(address, other.port, { purpose: 'device', epoch }), (error) =>
    isIngotError(error, 'RankLost'),
  );
  other.close();
});

test('something else at one of the addresses of a rank does not hide it', async () => {
  using rank = await openRank();
  const { devicePort } = rank.address;
  // On another address of this host, as on the bridge that every host has.
  const other = createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-something else\r\n'));
  other.listen(devicePort, '127.0.0.2');
  await once(other, 'listening');
  const address = { ...rank.address, hosts: ['127.0.0.2', '127.0.0.1'] };
  const link = await dialRank(address, devicePort, { purpose: 'device', epoch });
  link.drop();
  other.close();
});

test('what is asked when a device is closed, and not answered, is told so', async () => {
  const greeting = { purpose: 'device', epoch } as const;
  const listener = await listenForFronts('127.0.0.1', secret, greeting, (link) => {
    link.listen(
      ({ fields: { id, kind } }) => {
        if (kind !== 'allocate') link.send({ kind: 'done', id, packed: [] });
      },
      () => {},
    );
  });
  using rank = await openRank();
  const address = { ...rank.address, devicePort: listener.port };
  const device = await openRemoteDevice(address, { epoch, settings, results: true, onLost: () => assert.fail() });
  const pending = device.allocate(tensor('f32', [4]), 'state');
  const told = assert.rejects(pending, (error) => isIngotError(error, 'InvalidArgument'));
  await device[Symbol.asyncDispose]();
  await told;
  listener.close();
});

test('frames arrive whole, however they are cut', () => {
  const sent = [
    { fields: { kind: 'a', text: 'ä' }, parts: [Uint8Array.of(1, 2, 3), new Uint8Array()] },
    { fields: { kind: 'b' }, parts: [] },
    { fields: {}, parts: [new Uint8Array(1000).map((_, i) => i)] },
  ];
  const bytes = Buffer.concat(sent.flatMap(({ fields, parts }) => frameBytes(fields, parts)));
  for (const step of [1, 3, 7, 64, bytes.length]) {
    const reader = new FrameReader(1 << 16);
    const got: unknown[] = [];
    for (let at = 0; at < bytes.length; at += step) got.push(...reader.push(bytes.subarray(at, at + step)));
    assert.deepEqual(got, sent);
  }
});

test('frames that say wrong things of themselves are refused', () => {
  const frame = (bytes: number, head: number, text: string) => {
    const all = Buffer.alloc(8 + text.length);
    all.writeUInt32LE(bytes, 0);
    all.writeUInt32LE(head, 4);
    all.write(text, 8);
    return all;
  };
  const ok = '{"lengths":[]}';
  const wrong = [
    frame(1 << 30, 4, ok),
    frame(ok.length, ok.length + 1, ok),
    frame(ok.length, ok.length, ok.replace('{', '[')),
    frame(4, 4, 'null'),
    frame(2, 2, '{}'),
    ...['[4]', '[-1]', '[0.5]', '["1"]', '7'].map((lengths) => {
      const text = `{"lengths":${lengths}}abc`;
      return frame(text.length, text.length - 3, text);
    }),
  ];
  for (const bytes of wrong) {
    assert.throws(
      () => [...new FrameReader(1 << 20).push(bytes)],
      (error) => isIngotError(error, 'ParseError'),
      bytes.toString('latin1'),
    );
  }
});

test('questions are checked field by field', () => {
  const type = { kind: 'tensor', element: 'f32', shape: [{ sym: 'T', max: 8 }, 4] };
  const good = { kind: 'allocate', handle: 1, type, memory: 'state' };
  assert.deepEqual(readQuestion({ ...good, more: 1 }), good);
  const wrong = [
    { ...good, handle: -1 },
    { ...good, handle: '1' },
    { ...good, memory: 'disk' },
    { ...good, type: { ...type, element: 'toString' } },
    { ...good, type: { ...type, shape: [4, { sym: 'T', max: 8 }] } },
    { ...good, type: { ...type, shape: [2 ** 60] } },
    { kind: 'pack', handle: 1, parameter: 'w', ranges: [[{ start: 0 }]] },
    { kind: 'bind', handle: 1, executable: 2, weights: [['w']], state: [] },
    { kind: 'submit', bound: 1, inputs: [1], dims: {}, results: true },
    { kind: 'submit', bound: 1, inputs: [], dims: { T: 1.5 }, results: true },
    { kind: 'open', settings: null },
    { kind: 'other' },
    {},
  ];
  for (const fields of wrong) {
    assert.throws(
      () => readQuestion(fields),
      (error) => isIngotError(error, 'ParseError'),
      JSON.stringify(fields),
    );
  }
});
