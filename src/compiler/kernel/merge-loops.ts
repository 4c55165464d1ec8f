import type { Kernel } from './language.ts';
export function mergeLoops(kernel: Kernel): Kernel {
  return kernel;
}
