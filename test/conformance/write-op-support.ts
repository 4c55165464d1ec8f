/** `npm run op-support`: runs the suite on every device and writes docs/op-support.md and passing.json. */
import { devices, groups } from './devices.ts';
import { readKnownFailures, writeFindings } from './files.ts';
import { passingCounts, renderReport } from './report.ts';
import { runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;
if (data === undefined) {
  console.error('INGOT_TEST_DATA must name the folder with the test data');
  process.exit(2);
}
const suite = await runSuite(devices, data, groups);
writeFindings(renderReport(suite, readKnownFailures()), passingCounts(suite));
console.log(passingCounts(suite));
