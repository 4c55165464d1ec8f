/** One rank of `mpi.test.ts`, started by an MPI launcher: runs a program and prints what came out, as a line of JSON. */
import { isIngotError } from '../../src/base/errors.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { agree } from '../../src/parallel/agree.ts';
import { joinMpi } from '../../src/parallel/mpi.ts';
import { openCpu } from '../conformance/devices.ts';
import { digests, everyCollective, inputOf, programOf, runRank, sum } from '../unit/collective-program.ts';

const [how = 'all', tokens = '1'] = process.argv.slice(2);
const found = findSystem();
if (!found.usable) throw new Error(found.reason);
const world = joinMpi(found.system, process.env, how === 'all' ? {} : { patienceMilliseconds: 1500 });
const { communicator, library } = world;
const { rank, size } = communicator;

function print(what: object): void {
  process.stdout.write(`\n${JSON.stringify({ rank, size, library, ...what })}\n`);
}

const x = inputOf(Number(tokens))(rank);
const dims = { T: Number(tokens) };
await using device = openCpu(1);

switch (how) {
  case 'all': {
    const results = await runRank(device, communicator, everyCollective(size), x, dims);
    print({ digests: digests(results), submissions: device.profile().submissions });
    break;
  }
  // Many sums, until the last rank stops or dies; the others say when and how they learn of it.
  case 'SIGSTOP':
  case 'SIGKILL': {
    const program = programOf(size, (b, values) => ({ sum: sum(b, values, size) }));
    // What takes longer than patience is done before they wait for each other.
    (await device.compile(program))[Symbol.dispose]();
    await agree(found.system, communicator, {}, performance.now() + 60_000);
    try {
      for (let step = 0; ; step++) {
        const began = performance.now();
        if (rank === size - 1 && step === 3) process.kill(process.pid, how);
        try {
          await runRank(device, communicator, program, x, dims);
        } catch (error) {
          if (isIngotError(error))
            print({ code: error.code, message: error.message, after: performance.now() - began });
          throw error;
        }
      }
    } catch (error) {
      if (!isIngotError(error, 'RankLost')) throw error;
    }
    // The device is as good as before.
    const alone = programOf(1, (b, values) => ({ twice: b.add(values, values) }));
    const { twice } = await runRank(device, { ...communicator, rank: 0, size: 1 }, alone, x, dims);
    print({ twice: [...twice], expected: [...x.map((value) => value * 2)] });
    break;
  }
  default:
    throw new Error(`there is no test ${how}`);
}
world[Symbol.dispose]();
