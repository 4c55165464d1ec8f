/**
 * gpt-oss (https://arxiv.org/abs/2508.10925): every other layer sees a window, each head has a sink, all products have biases,
 * and experts are gated by a clamped SwiGLU. Folders have gate and up of all experts in one tensor, their rows taking turns,
 * as MXFP4 in blocks and scales or as floats the other way round.
 */
import type { RopeAttributes } from '../composites/rope.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { selfAttention } from './attention.ts';
import { type Block, block, chain, residual } from './block.ts';
import { decoderSizes, rmsEpsilon, type Setting } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { type ExpertSizes, expertSizes } from './expert-setting.ts';
import { everyOther, mxfp4Experts, transposedExperts } from './expert-views.ts';
import { mix, routerRows } from './experts.ts';
import { siluOnly } from './llama.ts';
import { rmsNorm } from './norm.ts';
import { ropeSetting } from './rope-setting.ts';
import type { Scope } from './scope.ts';
import { row, type TensorRow } from './tensors.ts';
import { windowSetting } from './window-setting.ts';

const plainRope = ropeSetting('half', decoderSizes.headDim);
/** YaRN's ramp between whole dimensions; files of llama.cpp do not say so. */
const rope: Setting<RopeAttributes> = {
  ...plainRope,
  gguf(s, checkpoint) {
    const read = plainRope.gguf(s, checkpoint);
    return read.scaling.kind === 'yarn' ? { ...read, scaling: { ...read.scaling, truncate: false } } : read;
  },
};

const [alpha, limit] = [1.702, 7];

const settings = {
  ...decoderSizes,
  sizes: expertSizes,
  normEpsilon: rmsEpsilon,
  rope,
  windowOf: windowSetting(2),
};

export const gptOss = decoderArchitecture(settings, {
  name: 'gpt-oss',
  huggingface: ['GptOssForCausalLM'],
  known: { ...siluOnly, swiglu_alpha: [alpha], swiglu_limit: [limit] },
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      chain(
        residual(
          chain(
            rmsNorm('attn_norm', 'input_layernorm', config),
            selfAttention({ ...config, sinks: true, window: config.windowOf(i) }),
          ),
        ),
        residual(
          chain(
            rmsNorm('post_attention_norm', 'post_attention_layernorm', config),
            experts({ ...config, ...config.sizes }),
          ),
        ),
      ),
  }),
});

function experts(sizes: ExpertSizes & { readonly hiddenSize: number }): Block {
  const rows = [...routerRows(sizes, 'mlp.router'), ...expertRows(sizes)];
  return block('clamped_experts', sizes.chosen, rows, (l, x) =>
    mix(l, x, sizes, { weights: 'chosen' }, (gate, up) => clampedSwiGlu(l, gate, up)),
  );
}

/** `(up + 1) * gate * logistic(alpha * gate)`, both within limits. */
function clampedSwiGlu({ b }: Scope, gate: Value, up: Value): Value {
  const { element, shape } = asTensor(gate.type);
  const full = (value: number) => b.full(element, shape, value);
  const low = b.minimum(gate, full(limit));
  const within = b.maximum(b.minimum(up, full(limit)), full(-limit));
  const gated = b.multiply(low, b.unary('logistic', b.multiply(low, full(alpha))));
  return b.multiply(b.add(within, full(1)), gated);
}

function expertRows({
  experts,
  chosen,
  expertSize,
  hiddenSize,
}: ExpertSizes & { readonly hiddenSize: number }): readonly TensorRow[] {
  /** One of `turns` tensors whose rows take turns, the one whose are at `turn`. */
  const rows = (gguf: string, folder: string, [N, K]: readonly [number, number], turns: 1 | 2, turn: number) => {
    const name = `mlp.experts.${folder}`;
    return [
      {
        gguf: `${gguf}.weight`,
        shape: [experts, N, K],
        chosen,
        sources: [
          {
            names: [`${name}_blocks`, `${name}_scales`],
            view: (blocks: StoredTensor, scales: StoredTensor) => mxfp4Experts(blocks, scales, turns, turn),
          },
          { names: [name], view: (stored: StoredTensor) => transposedExperts(stored, turns, turn) },
        ],
      },
      row(`${gguf}.bias`, `${name}_bias`, [experts, N], {
        view: (stored) => everyOther(stored, turns, turn),
        exact: true,
      }),
    ];
  };
  return [
    ...rows('ffn_gate_exps', 'gate_up_proj', [expertSize, hiddenSize], 2, 0),
    ...rows('ffn_up_exps', 'gate_up_proj', [expertSize, hiddenSize], 2, 1),
    ...rows('ffn_down_exps', 'down_proj', [hiddenSize, expertSize], 1, 0),
  ];
}
