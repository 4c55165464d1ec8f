/** Images as the code cache keeps them (code-cache.ts), by the program that they were made of. */
import type { Pass, Program } from '../../ir/program.ts';
import { programText } from '../../ir/program-text.ts';
import type { Kept } from './code-cache.ts';
import type { Image, Layout } from './image.ts';
import { type Target, targetKey } from './target.ts';

export interface ImageHead {
  readonly layout: Layout;
  readonly codeBytes: number;
}

/** `passes` are told apart by their name only: all are of one version. */
export function imageKey(program: Program, target: Target, passes?: Pass): string | undefined {
  const text = programText(program);
  return text === undefined ? undefined : `image ${targetKey(target)} ${passes?.name ?? ''}\n${text}`;
}

export function packImage({ layout, code, constants }: Image): Kept<ImageHead> {
  return { head: { layout, codeBytes: code.length }, bytes: Buffer.concat([code, constants]) };
}

export function unpackImage({ head: { layout, codeBytes }, bytes }: Kept<ImageHead>): Image {
  // JSON has null for what is nowhere.
  const places = (spots: Layout['results']) => spots.map((spot) => spot ?? undefined);
  const { parameters, results, ...rest } = layout;
  return {
    layout: { ...rest, parameters: places(parameters), results: places(results) },
    code: bytes.subarray(0, codeBytes),
    constants: bytes.subarray(codeBytes),
  };
}
