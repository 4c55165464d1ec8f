/** `ingot profile --asm KERNEL`: the machine code of one kernel of a model, beside the loops that it came from. */
import { IngotError } from '../base/errors.ts';
import { compile } from '../compiler/compile.ts';
import { printKernel } from '../compiler/kernel/print.ts';
import { type Emitted, emitKernels } from '../devices/cpu/code.ts';
import { chooseTarget } from '../devices/cpu/device.ts';
import { planLaunches } from '../devices/cpu/launches.ts';
import { matrixShapes, modelClass } from '../devices/cpu/matrix-shapes.ts';
import { findSystem } from '../devices/cpu/os/open.ts';
import { usableThreads } from '../devices/cpu/os/os.ts';
import { planForCpu } from '../devices/cpu/plan.ts';
import { tunedChoice } from '../devices/cpu/tunings.ts';
import { stepLimits } from '../engine/step-limits.ts';
import type { Model } from '../models/model.ts';
import { usageError } from './failure.ts';

/** @throws IngotError 'Usage' unless `wanted` is the name of one kernel, or a part of the name of one only. */
export function printKernelCode(model: Model, contextLength: number, wanted: string, device = 'cpu'): void {
  if (device !== 'cpu') throw usageError(`the ${device} device has no machine code`);
  const found = findSystem();
  if (!found.usable) throw new IngotError('DeviceLost', found.reason, { device });
  const limits = stepLimits(model, { contextLength });
  const program = compile(model.build({ limits, kv: 'f32', numerics: 'i8', results: ['sample'] }));
  const threads = usableThreads(found.system.limits());
  const of = modelClass(matrixShapes(model.weights.values()));
  const chosen = chooseTarget(found.system);
  const target = { ...chosen, schedule: tunedChoice(found.system, threads, chosen, of).schedule };
  const kernels = emitKernels(planLaunches(planForCpu(program), target));
  const { name, emitted, code, loops, loopsWithin } = choose(kernels, wanted);
  console.log(`${name}: ${code.bytes.length} bytes, ${emitted.stackBytes} bytes of stack`);
  console.log('');
  if (loops !== undefined) console.log(printKernel(loops));
  else if (loopsWithin.length === 0) console.log('Written by hand: no loops lie behind it.');
  else console.log(['Written by hand, with these loops in it:', ...loopsWithin.map(printKernel)].join('\n\n'));
  console.log('');
  console.log(code.listing());
}

function choose(kernels: readonly Emitted[], wanted: string): Emitted {
  const exact = kernels.find(({ name }) => name === wanted);
  const alike = kernels.filter(({ name }) => name.includes(wanted));
  const [only] = alike;
  if (exact !== undefined) return exact;
  if (alike.length === 1 && only !== undefined) return only;
  const list = (some: readonly Emitted[]) => some.map(({ name }) => `\n  ${name}`).join('');
  if (alike.length > 1) throw usageError(`"${wanted}" is a part of ${alike.length} names`, `one of:${list(alike)}\n`);
  throw usageError(`there is no kernel "${wanted}"`, `kernels of this model:${list(kernels)}\n`);
}
