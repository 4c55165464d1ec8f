/** The folders of goldens with quantized weights (goldens/make-quantized.py). */
import { join } from 'node:path';
import { fixtures } from '../fixtures.ts';

export const quantizedFolders = join(fixtures('unit'), 'quantized');

/** In which our blocks hold each of them. */
export const quantizedFormats: Readonly<Record<string, string>> = {
  'gptq-sym': 'q4_0',
  'gptq-zeros': 'q5_0',
  'gptq-8': 'q8_0',
  awq: 'q5_0',
  'fp8-tensor': 'e4m3_32',
  'fp8-e5m2': 'e5m2_32',
  'fp8-rows': 'e4m3_32',
  'fp8-tiles': 'e4m3_32',
};
