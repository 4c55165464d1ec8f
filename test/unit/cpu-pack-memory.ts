/** A process of its own that packs the file it is given as six q8_0 weights, and prints what memory that took, in bytes. */
import { sliceBytes } from '../../src/base/bytes.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { openFile } from '../../src/formats/file-node.ts';
import { system } from './machine.ts';

const [path, rows, columns] = [process.argv[2] as string, Number(process.argv[3]), Number(process.argv[4])];
await using file = await openFile(path);
await using device = createCpuDevice(system(), {});
const length = file.length / 6;
const pack = (i: number) =>
  device.pack({ name: `w${i}`, format: 'q8_0', shape: [rows, columns], bytes: sliceBytes(file, i * length, length) });
const before = process.memoryUsage().rss;
const packed = await Promise.all([0, 1, 2, 3, 4, 5].map(pack));
const peak = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ before, peak, packed: packed.reduce((sum, { bytes }) => sum + bytes, 0) }));
for (const weight of packed) weight[Symbol.dispose]();
