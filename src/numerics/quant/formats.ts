/** The table of weight formats. A new format is a file beside this one and a line here. */
import { IngotError } from '../../base/errors.ts';
import type { BlockFormat } from './format.ts';
import { bf16, f16, f32 } from './plain.ts';
import { q4_0 } from './q4_0.ts';
import { q4_K } from './q4_K.ts';
import { q6_K } from './q6_K.ts';
import { q8_0 } from './q8_0.ts';

export const blockFormats: readonly BlockFormat[] = [f32, f16, bf16, q8_0, q4_0, q4_K, q6_K];

const byName = new Map(blockFormats.map((format) => [format.name, format]));
const byGgmlType = new Map(blockFormats.map((format) => [format.ggmlType, format]));

/** @throws IngotError 'UnsupportedFile' for a name that the table does not have. */
export function blockFormat(name: string): BlockFormat {
  return byName.get(name) ?? unsupported(`weight format ${JSON.stringify(name)} is not supported`);
}

/** By the number that GGUF files use. @throws IngotError 'UnsupportedFile'. */
export function blockFormatOfGgmlType(type: number): BlockFormat {
  return byGgmlType.get(type) ?? unsupported(`ggml type ${type} is not supported`);
}

function unsupported(message: string): never {
  const names = blockFormats.map((format) => format.name).join(', ');
  throw new IngotError('UnsupportedFile', message, { hint: `convert the weights to one of ${names}` });
}
