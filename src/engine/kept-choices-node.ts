/** How programs and weights were divided among ranks, kept with the code that is made of programs (devices/cpu/code-cache.ts). */
import type { Layout } from '../compiler/partition/split.ts';
import { openCodeCache } from '../devices/cpu/code-cache.ts';
import { programText } from '../devices/cpu/image-file.ts';
import { formatMesh, type Mesh } from '../ir/mesh.ts';
import type { Program } from '../ir/program.ts';
import type { Model } from '../models/model.ts';
import type { KeptChoices, KeptLayouts } from '../parallel/mesh-device.ts';

type Choices = ReturnType<KeptChoices['find']>;

/** Undefined where nothing can be kept. */
export function keptChoices(mesh: Mesh): KeptChoices | undefined {
  const cache = openCodeCache();
  if (cache === undefined) return undefined;
  const keyOf = (program: Program) => {
    const text = programText(program);
    return text === undefined ? undefined : `choices ${formatMesh(mesh)}\n${text}`;
  };
  return {
    find(program) {
      const key = keyOf(program);
      return key === undefined ? undefined : cache.find<Choices>(key)?.head;
    },
    keep(program, choices) {
      const key = keyOf(program);
      if (key !== undefined) cache.keep<Choices>(key, { head: choices, bytes: new Uint8Array() });
    },
  };
}

type Splits = readonly (Layout['splits'][number] | null)[];

/** By what the model is made of: another program of it divides weights otherwise only where its bounds make other splits the cheaper ones. */
export function keptLayouts(mesh: Mesh, { architecture, weights }: Model): KeptLayouts | undefined {
  const cache = openCodeCache();
  if (cache === undefined) return undefined;
  const rows = [...weights].map(([name, { format, shape }]) => [name, format, shape]);
  const key = `layouts ${formatMesh(mesh)}\n${JSON.stringify([architecture, rows])}`;
  return {
    find() {
      const kept = cache.find<readonly (readonly [string, Splits])[]>(key)?.head;
      // JSON has null for what is whole.
      return (
        kept && new Map(kept.map(([name, splits]) => [name, { splits: splits.map((split) => split ?? undefined) }]))
      );
    },
    keep(layouts) {
      const rows = [...layouts].map(([name, { splits }]) => [name, splits.map((split) => split ?? null)] as const);
      cache.keep<readonly (readonly [string, Splits])[]>(key, { head: rows, bytes: new Uint8Array() });
    },
  };
}
