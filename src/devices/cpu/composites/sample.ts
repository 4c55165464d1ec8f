/** `sample` (composites/sample.ts). */
import { sampleComposite, sampleInputs, segmentsOf } from '../../../composites/sample.ts';
import type { Value } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { type SampleShape, sampleBuffers, sampleKernel, sampleRowBytes } from '../kernels/sample.ts';
import { segmentBytes } from '../kernels/sample-segments.ts';
import { type CompositeBuffer, type CompositeKernel, type CompositeLaunch, dimsOf } from './composite-kernel.ts';

export const sampleKernels: CompositeKernel = {
  name: sampleComposite.name,
  covers: () => true,
  launches({ operands: [logits, ...inputs], results }) {
    const [rows, vocabulary] = asTensor(logits.type).shape;
    const row = { rows, vocabulary: maxDim(vocabulary), summed: false };
    return [sampleLaunch(row, { value: logits }, inputs, results, 0)];
  },
};

type SamplingInput = (typeof sampleInputs)[number];

export const samplingInput = (inputs: readonly Value[], name: SamplingInput): Value =>
  inputs[sampleInputs.indexOf(name)];

/** Entries of a list, at most. */
export const lengthOf = (inputs: readonly Value[], name: SamplingInput): number =>
  maxDim(asTensor(samplingInput(inputs, name).type).shape[0]);

/** Scratch that it needs begins at `from`, with the segments of all rows. */
export function sampleLaunch(
  row: Pick<SampleShape, 'rows' | 'vocabulary' | 'summed'>,
  logits: CompositeBuffer,
  inputs: readonly Value[],
  [ids, logprobs]: readonly Value[],
  from: number,
): CompositeLaunch {
  const { rows, vocabulary, summed } = row;
  const shape: SampleShape = { ...row, sequences: lengthOf(inputs, 'counts'), biases: lengthOf(inputs, 'biasRow') };
  const own = from + maxDim(rows) * segmentBytes(vocabulary);
  const buffer = (name: (typeof sampleBuffers)[number]): CompositeBuffer => {
    switch (name) {
      case 'logits':
        return logits;
      case 'segments':
        return { scratch: from };
      case 'scratch':
        return { scratch: own };
      case 'ids':
        return { value: ids };
      case 'logprobs':
        return { value: logprobs };
      default:
        return { value: samplingInput(inputs, name) };
    }
  };
  return {
    key: `sample ${JSON.stringify(shape)}`,
    kernel: () => sampleKernel(shape),
    buffers: sampleBuffers.map(buffer),
    dims: dimsOf(rows),
    scratchBytes: own + maxDim(rows) * sampleRowBytes(vocabulary),
    // Of rows that are not drawn: an exponential and two comparisons an element, a logit or a segment.
    cost({ dims }) {
      const elements = resolveDim(rows, dims) * (summed ? 2 * segmentsOf(vocabulary).count : vocabulary);
      return { bytes: 4 * elements, operations: 20 * elements, element: 'f32' };
    },
  };
}
