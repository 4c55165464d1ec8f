/**
 * Areas of the self-test: kernels that are needed together, and tried when they are first needed. Of every format there are
 * four: its products as a model has them, those of experts, and the two numerics that are seldom asked for.
 */
import { blockFormat } from '../../../numerics/quant/formats.ts';
import type { WeightSource } from '../../device.ts';
import { isPackedFormat, type PackedFormat, packedFormats } from '../kernels/packing.ts';

/** What every model needs. */
export const commonArea = 'common';
/** What every model needs in numerics `bf16`, whatever its weights. */
export const bf16Area = 'bf16';
/** What no model needs, and a program may. */
export const otherArea = 'other';

type Use = 'plain' | 'experts' | 'bf16' | 'f32';
export const areaOf = (format: PackedFormat, use: Use) => (use === 'plain' ? format : `${format} ${use}`);

/** What models of such weights need; `bf16`: in these numerics too. */
export function modelAreas(
  weights: Iterable<Pick<WeightSource, 'format' | 'shape'>>,
  bf16: boolean,
): readonly string[] {
  const areas = new Set(bf16 ? [commonArea, bf16Area] : [commonArea]);
  for (const { format, shape } of weights) {
    if (!isPackedFormat(format)) continue;
    areas.add(areaOf(format, 'plain'));
    if (shape.length > 2) areas.add(areaOf(format, 'experts'));
    if (bf16) areas.add(areaOf(format, 'bf16'));
  }
  return [...areas];
}

/** What any program may need. */
export const allAreas: readonly string[] = [
  commonArea,
  bf16Area,
  otherArea,
  ...packedFormats.flatMap((format) => {
    const uses: readonly Use[] = ['plain', 'experts', 'bf16', 'f32'];
    // Without integers f32 is what a model has.
    return uses
      .filter((use) => use !== 'f32' || blockFormat(format).integers !== undefined)
      .map((use) => areaOf(format, use));
  }),
];
