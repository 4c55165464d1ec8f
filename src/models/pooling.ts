/** Embeddings of sequences: vectors of tokens become one of length 1 (Reimers and Gurevych, https://arxiv.org/abs/1908.10084). */
import { stepDims } from '../composites/step.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import type { Setting } from './config.ts';
import type { Pooling } from './model.ts';
import type { Scope } from './scope.ts';
import type { Settings } from './settings.ts';

/** GGUF's numbers; 0 is none, 4 ranks. */
const ggufKinds: readonly (Pooling | undefined)[] = [undefined, 'mean', 'cls', 'last'];

/** As sentence-transformers saves it beside a model. */
const folderKey = '1_Pooling/config.json';
const folderModes: Readonly<Record<Pooling, string>> = {
  cls: 'pooling_mode_cls_token',
  mean: 'pooling_mode_mean_tokens',
  last: 'pooling_mode_lasttoken',
};

/** Undefined for models that embed nothing. */
export const poolingSetting: Setting<Pooling | undefined> = {
  gguf(s) {
    if (!s.has('pooling_type')) return undefined;
    const type = s.number('pooling_type');
    if (!Object.hasOwn(ggufKinds, type)) s.unsupported('pooling_type', '0 to 3');
    return ggufKinds[type];
  },
  huggingface(s) {
    const modes = s.section(folderKey);
    return modes && readModes(modes);
  },
  write(pooling, keys) {
    if (pooling !== undefined) keys.set('pooling_type', ggufKinds.indexOf(pooling));
  },
};

function readModes(s: Settings): Pooling {
  const modes = (['cls', 'mean', 'last'] as const).filter((pooling) => s.boolean(folderModes[pooling], false));
  const others = ['pooling_mode_max_tokens', 'pooling_mode_mean_sqrt_len_tokens', 'pooling_mode_weightedmean_tokens'];
  const other = others.find((name) => s.boolean(name, false));
  if (other !== undefined) s.unsupported(other, Object.values(folderModes).join(', '));
  if (modes.length !== 1) s.unsupported(folderModes.mean, `one of ${Object.values(folderModes).join(', ')}`);
  return modes[0];
}

/** [S, hidden] of x [T, hidden]: each row has the length 1. `norm` is the model's last one, of any rows. */
export function embedSequences(main: Scope, pooling: Pooling, x: Value, norm: (rows: Value) => Value): Value {
  return unitRows(main, pool(main, pooling, x, norm));
}

function pool(main: Scope, pooling: Pooling, x: Value, norm: (rows: Value) => Value): Value {
  const { b } = main;
  const first = main.value('qStart');
  const length = main.value('qLen');
  const { S } = stepDims(main.options.limits);
  switch (pooling) {
    case 'cls':
      return norm(b.take(x, first));
    case 'last':
      return norm(b.take(x, b.subtract(b.add(first, length), b.full('i32', [S], 1))));
    case 'mean': {
      const [, hidden] = asTensor(x.type).shape;
      const sums = b.accumulate(b.full('f32', [S, hidden], 0), main.value('sequence'), norm(x));
      return b.divide(sums, b.broadcast(b.convert(length, 'f32'), [S, hidden], [0]));
    }
    default:
      return pooling satisfies never;
  }
}

function unitRows({ b }: Scope, rows: Value): Value {
  const { element, shape } = asTensor(rows.type);
  const squares = b.reduce('add', b.multiply(rows, rows), 0, [1]);
  // As PyTorch's `normalize`: nothing is divided by 0.
  const length = b.maximum(b.unary('sqrt', squares), b.full(element, [shape[0]], 1e-12));
  return b.divide(rows, b.broadcast(length, shape, [0]));
}
