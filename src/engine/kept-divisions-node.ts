/** How programs and weights were divided among ranks, kept with the code that is made of programs (devices/cpu/code-cache.ts). */
import type { Layout } from '../compiler/partition/split.ts';
import { openCodeCache } from '../devices/cpu/code-cache.ts';
import { formatMesh, type Mesh } from '../ir/mesh.ts';
import type { Program } from '../ir/program.ts';
import { type Outline, programText } from '../ir/program-text.ts';
import type { Model } from '../models/model.ts';
import type { Divided, KeptDivisions, KeptLayouts } from '../parallel/division.ts';
import type { KeptOutlines } from '../parallel/rank-server.ts';

/** JSON has null for what is whole. */
type Splits = readonly (Layout['splits'][number] | null)[];
const saidSplits = ({ splits }: Layout): Splits => splits.map((split) => split ?? null);
const heardSplits = (splits: Splits): Layout => ({ splits: splits.map((split) => split ?? undefined) });

/** The texts of ranks' programs, each of so many bytes, follow one another. */
interface DividedHead {
  readonly choices: Divided['choices'];
  readonly ranks: readonly {
    readonly outline: Divided['ranks'][number]['outline'];
    readonly parameters: readonly Splits[];
    readonly textBytes: number;
  }[];
}

/** Undefined where nothing can be kept. */
export function keptDivisions(mesh: Mesh): KeptDivisions | undefined {
  const cache = openCodeCache();
  if (cache === undefined) return undefined;
  const keyOf = (program: Program) => {
    const text = programText(program);
    return text === undefined ? undefined : `division ${formatMesh(mesh)}\n${text}`;
  };
  return {
    find(program) {
      const key = keyOf(program);
      const kept = key === undefined ? undefined : cache.find<DividedHead>(key);
      if (kept === undefined) return undefined;
      let at = 0;
      const ranks = kept.head.ranks.map(({ outline, parameters, textBytes }) => {
        const text = new TextDecoder().decode(kept.bytes.subarray(at, at + textBytes));
        at += textBytes;
        return { outline, text, parameters: parameters.map(heardSplits) };
      });
      return { choices: kept.head.choices, ranks };
    },
    keep(program, { choices, ranks }) {
      const key = keyOf(program);
      if (key === undefined) return;
      const texts = ranks.map(({ text }) => new TextEncoder().encode(text));
      const heads = ranks.map(({ outline, parameters }, rank) => {
        return { outline, parameters: parameters.map(saidSplits), textBytes: texts[rank].length };
      });
      cache.keep<DividedHead>(key, { head: { choices, ranks: heads }, bytes: Buffer.concat(texts) });
    },
  };
}

/** By what the model is made of: another program of it divides weights otherwise only where its bounds make other splits the cheaper ones. */
export function keptLayouts(mesh: Mesh, { architecture, weights }: Model): KeptLayouts | undefined {
  const cache = openCodeCache();
  if (cache === undefined) return undefined;
  const rows = [...weights].map(([name, { format, shape }]) => [name, format, shape]);
  const key = `layouts ${formatMesh(mesh)}\n${JSON.stringify([architecture, rows])}`;
  return {
    find() {
      const kept = cache.find<readonly (readonly [string, Splits])[]>(key)?.head;
      return kept && new Map(kept.map(([name, splits]) => [name, heardSplits(splits)]));
    },
    keep(layouts) {
      const rows = [...layouts].map(([name, layout]) => [name, saidSplits(layout)] as const);
      cache.keep<readonly (readonly [string, Splits])[]>(key, { head: rows, bytes: new Uint8Array() });
    },
  };
}

/** Undefined where nothing can be kept. */
export function keptOutlines(): KeptOutlines | undefined {
  const cache = openCodeCache();
  if (cache === undefined) return undefined;
  const keyOf = (text: string) => `outline\n${text}`;
  return {
    find: (text) => cache.find<Outline>(keyOf(text))?.head,
    keep: (text, outline) => cache.keep<Outline>(keyOf(text), { head: outline, bytes: new Uint8Array() }),
  };
}
