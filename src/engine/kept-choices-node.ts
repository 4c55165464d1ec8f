/** How programs were divided among ranks, kept with the code that is made of them (devices/cpu/code-cache.ts). */
import { openCodeCache } from '../devices/cpu/code-cache.ts';
import { programText } from '../devices/cpu/image-file.ts';
import { formatMesh, type Mesh } from '../ir/mesh.ts';
import type { Program } from '../ir/program.ts';
import type { KeptChoices } from '../parallel/mesh-device.ts';

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
