/** The table of weight formats. A new format is a file beside this one and a line here. */
import { IngotError } from '../../base/errors.ts';
import type { BlockFormat, EncodableFormat } from './format.ts';
import { mxfp4, nvfp4 } from './fp4.ts';
import { e4m3, e5m2 } from './fp8.ts';
import { iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs } from './iq2_iq3.ts';
import { iq4_nl, iq4_xs } from './iq4.ts';
import { bf16, f16, f32 } from './plain.ts';
import { q2_K } from './q2_K.ts';
import { q3_K } from './q3_K.ts';
import { q4_K, q5_K } from './q4_K_q5_K.ts';
import { q4_0, q4_1, q5_0, q5_1 } from './q4_q5.ts';
import { q6_K } from './q6_K.ts';
import { q8_0 } from './q8_0.ts';
import { tq1_0, tq2_0 } from './ternary.ts';

export const blockFormats: readonly BlockFormat[] = [
  f32,
  f16,
  bf16,
  q8_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q2_K,
  q3_K,
  q4_K,
  q5_K,
  q6_K,
  iq4_nl,
  iq4_xs,
  mxfp4,
  nvfp4,
  tq1_0,
  tq2_0,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  e4m3,
  e5m2,
];

const byName = new Map(blockFormats.map((format) => [format.name, format]));

/** @throws IngotError 'UnsupportedFile' for a name that the table does not have. */
export function blockFormat(name: string): BlockFormat {
  return byName.get(name) ?? unsupported(`weight format ${JSON.stringify(name)} is not supported`);
}

/** Those that weights can be converted to. */
export const encodableFormats = blockFormats.filter((format) => isEncodable(format));

function isEncodable(format: BlockFormat): format is EncodableFormat {
  return format.encode !== undefined;
}

/** @throws IngotError 'UnsupportedFile' for a name that is not one of `encodableFormats`. */
export function encodableFormat(name: string): EncodableFormat {
  const format = blockFormat(name);
  if (isEncodable(format)) return format;
  throw new IngotError('UnsupportedFile', `Ingot reads weights of format ${name} and cannot make them`, {
    hint: `choose one of ${encodableFormats.map((other) => other.name).join(', ')}`,
  });
}

function unsupported(message: string): never {
  const names = blockFormats.map((format) => format.name).join(', ');
  throw new IngotError('UnsupportedFile', message, { hint: `convert the weights to one of ${names}` });
}
