/**
 * Packed weights that lie in a file, which is mapped: they take no memory but the system's cache of the file, which all processes have in
 * common. The team sums what is mapped, and so brings it into memory.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { IngotError, throwIfAborted } from '../../base/errors.ts';
import type { DeviceBuffer, WeightFiles, WeightSource } from '../device.ts';
import type { CodeCache } from './code-cache.ts';
import { pieceBytes, sumBytes, sumPiecesKernel } from './kernels/sum-pieces.ts';
import { keptKernel } from './machine-code.ts';
import type { Memory, OperatingSystem } from './os/os.ts';
import { Region } from './regions.ts';
import type { Target } from './target.ts';
import type { Launch, Team } from './team.ts';

/** Of a launch: the team is stopped between two. */
const launchPieces = 32;
const argumentBytes = 64;
/** How often JavaScript looks whether the sums are there, in milliseconds. */
const lookMilliseconds = 2;
/** A view has less than 4 GiB. */
const viewBytes = 1 << 30;

/** What sums. */
interface Summer {
  readonly system: OperatingSystem;
  readonly team: Team;
  readonly target: Target;
  readonly codeCache: CodeCache | undefined;
}

type Weight = Pick<WeightSource, 'format' | 'shape'>;

/** The device that weights are of. */
interface Owner {
  memoryOf(buffer: DeviceBuffer): Memory;
  sizeOf(weight: Weight): number;
  bufferIn(weight: Weight, memory: Memory): DeviceBuffer;
}

export function createWeightFiles(
  mapFile: NonNullable<OperatingSystem['mapFile']>,
  summer: Summer,
  { memoryOf, sizeOf, bufferIn }: Owner,
): WeightFiles {
  return {
    unit: pieceBytes,
    bytesOf: sizeOf,
    *contents(buffer) {
      const memory = memoryOf(buffer);
      for (let at = 0; at < memory.length; at += viewBytes) {
        yield memory.bytes(at, Math.min(viewBytes, memory.length - at));
      }
    },
    map(descriptor, bytes) {
      const region = new Region(mapFile(descriptor, bytes));
      const whole = region.part(0, bytes);
      return {
        digest: (signal) => digestOf(whole, summer, signal),
        weight(weight, offset) {
          const memory = region.part(offset, sizeOf(weight));
          try {
            return bufferIn(weight, memory);
          } catch (error) {
            memory[Symbol.dispose]();
            throw error;
          }
        },
        [Symbol.dispose]: () => whole[Symbol.dispose](),
      };
    },
  };
}

/** SHA-256 of the sums of memory of whole pieces. @throws IngotError 'Aborted'; 'DeviceFault' where the team was stopped. */
async function digestOf(whole: Memory, { system, team, target, codeCache }: Summer, signal?: AbortSignal) {
  const pieces = whole.length / pieceBytes;
  const launches = Math.ceil(pieces / launchPieces);
  using code = system.mapCode(keptKernel('sum pieces', sumPiecesKernel, target, codeCache).bytes);
  using sums = system.mapMemory(pieces * sumBytes);
  using memory = system.mapMemory(launches * argumentBytes);
  const words = new BigUint64Array(memory.bytes().buffer);
  const kernels = Array.from({ length: launches }, (_, i): Launch => {
    const first = i * launchPieces;
    const count = Math.min(launchPieces, pieces - first);
    const [from, to] = [whole.address + first * pieceBytes, sums.address + first * sumBytes];
    words.set([from, to, count].map(BigInt), (i * argumentBytes) / 8);
    return { kind: 'kernel', code, offset: 0, argument: { memory, offset: i * argumentBytes } };
  });
  using list = team.list(kernels, [whole, sums]);
  const ticket = team.submit(list);
  while (!team.ended(ticket)) {
    if (signal?.aborted) team.abort();
    await sleep(lookMilliseconds);
  }
  throwIfAborted(signal);
  if (team.wait(ticket, Number.POSITIVE_INFINITY) !== 'done') {
    throw new IngotError('DeviceFault', 'summing weights was stopped', { device: 'cpu' });
  }
  return createHash('sha256').update(sums.bytes()).digest('hex');
}
