/** The process of the self-test: `node child.js INSTRUCTION_SET`. */
import type { InstructionSet } from '../target.ts';
import { runTests } from './run-tests.ts';
import { selfTests } from './table.ts';

await runTests(process.argv[2] as InstructionSet, selfTests());
