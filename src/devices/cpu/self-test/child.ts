/** The process of the self-test: `node child.js INSTRUCTION_SET AREA,AREA`. */
import type { InstructionSet } from '../target.ts';
import { runTests } from './run-tests.ts';
import { selfTests } from './table.ts';

const [set, areas] = process.argv.slice(2);
await runTests(set as InstructionSet, selfTests(areas.split(',')));
