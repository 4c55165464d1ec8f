/** Rows of a tensor from one block format to another: the work itself, and who does it. */
import { IngotError } from '../base/errors.ts';
import { blockFormat, encodableFormat } from '../numerics/quant/formats.ts';

export interface RecodeTask {
  /** Whole rows. */
  readonly bytes: Uint8Array;
  /** Names of rows of `numerics/quant/formats.ts`. */
  readonly from: string;
  readonly to: string;
  /** A weight for each column. */
  readonly importance?: Float32Array;
}

export interface Recoder {
  /** How many tasks it is worth having begun before the first is waited for. */
  readonly ahead: number;
  /** The bytes of the task are the recoder's from now on. @throws IngotError as `recode` does, 'Aborted'. */
  recode(task: RecodeTask): Promise<Uint8Array>;
}

/** This thread, one task after another. */
export const inline: Recoder = { ahead: 0, recode: async (task) => recode(task) };

const largestF16 = 65504;

/** @throws IngotError 'InvalidArgument' for values that the new format cannot hold. */
export function recode({ bytes, from, to, importance }: RecodeTask): Uint8Array {
  const [source, target] = [blockFormat(from), encodableFormat(to)];
  const values = new Float32Array((bytes.length / source.blockBytes) * source.blockSize);
  source.decode(bytes, values);
  if (to === 'f16') checkRange(values);
  else if (target.blockSize > 1) checkFinite(values);
  const encoded = new Uint8Array((values.length / target.blockSize) * target.blockBytes);
  target.encode(values, encoded, importance);
  return encoded;
}

function checkRange(values: Float32Array): void {
  for (const value of values) {
    if (!(Math.abs(value) > largestF16)) continue;
    throw new IngotError('InvalidArgument', 'its values pass the range of f16', { hint: 'choose bf16' });
  }
}

/** One that is not spoils the block that it is in. */
function checkFinite(values: Float32Array): void {
  for (const value of values) {
    if (Number.isFinite(value)) continue;
    throw new IngotError('InvalidArgument', `it holds ${value}, which cannot be quantized`, {
      hint: 'the model is damaged; keep this tensor as it is with --tensor',
    });
  }
}
