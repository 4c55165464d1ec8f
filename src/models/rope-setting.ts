/** Rotary embedding as a setting: base, dimensions and scaling, under the keys of GGUF and of Hugging Face. */
import { IngotError } from '../base/errors.ts';
import type { RopeAttributes } from '../composites/rope.ts';
import { type RopeScaling, yarnAttentionFactor } from '../composites/rope_frequencies.ts';
import type { GgufKeys, Readable, Setting } from './config.ts';
import type { Settings } from './settings.ts';

/** ggml multiplies this into YaRN's own factor on cos and sin; Hugging Face's `attention_factor` replaces that one. */
const ggufAttentionFactor = 'rope.scaling.yarn_attn_factor';

/** What is special about an architecture in Hugging Face's older files, which have no `rope_parameters`. */
interface OlderFiles {
  readonly base?: string;
  readonly usualBase?: number;
  /** Of the part of a head that turns. */
  readonly share?: string;
  readonly usualShare?: number;
}

/**
 * @param ggufLayout of the pairs, in GGUF files of the architecture; that of Hugging Face is always 'half'.
 * @param headDim turned whole where a file does not say how much.
 */
export function ropeSetting(
  ggufLayout: RopeAttributes['layout'],
  headDim: Readable<number>,
  older: OlderFiles = {},
): Setting<RopeAttributes> {
  return {
    gguf: (s, checkpoint) => ({
      ...ggufTurns(s, headDim.gguf(s, checkpoint)),
      layout: ggufLayout,
      scaling: readGgufScaling(s),
    }),
    huggingface: (s) => huggingFaceRope(s, s.section('rope_parameters'), headDim.huggingface(s), older),
    write({ base, dimensions, scaling }, keys) {
      keys.set('rope.dimension_count', dimensions);
      keys.setFloat('rope.freq_base', base);
      writeScaling(scaling, keys);
    },
  };
}

/** `parameters`: base, share and scaling together, as newer files keep them. */
export function huggingFaceRope(
  s: Settings,
  parameters: Settings | undefined,
  headDim: number,
  older: OlderFiles,
): RopeAttributes {
  const { base, share } = huggingFaceTurns(s, parameters, older);
  return {
    base,
    dimensions: Math.trunc(headDim * share),
    layout: 'half',
    scaling: readHuggingFaceScaling(parameters ?? s.section('rope_scaling'), s),
  };
}

export function huggingFaceTurns(
  s: Settings,
  parameters: Settings | undefined,
  { base = 'rope_theta', usualBase = 10000, share = 'partial_rotary_factor', usualShare = 1 }: OlderFiles,
): { readonly base: number; readonly share: number } {
  const old = { base: s.number(base, usualBase), share: s.number(share, usualShare) };
  if (parameters === undefined) return old;
  return {
    base: parameters.number('rope_theta', old.base),
    share: parameters.number('partial_rotary_factor', old.share),
  };
}

/** Base and rotated dimensions in a GGUF file. */
export function ggufTurns(s: Settings, headDim: number): Pick<RopeAttributes, 'base' | 'dimensions'> {
  return { base: s.number('rope.freq_base', 10000), dimensions: s.count('rope.dimension_count', headDim) };
}

function readGgufScaling(s: Settings): RopeScaling {
  if (s.has('rope.scale_linear')) return { kind: 'linear', factor: s.number('rope.scale_linear') };
  const kind = s.string('rope.scaling.type', 'none');
  switch (kind) {
    case 'none':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: s.number('rope.scaling.factor') };
    case 'yarn': {
      const yarn = {
        kind,
        factor: s.number('rope.scaling.factor'),
        originalContextLength: s.count('rope.scaling.original_context_length'),
        betaFast: s.number('rope.scaling.yarn_beta_fast', 32),
        betaSlow: s.number('rope.scaling.yarn_beta_slow', 1),
      } as const;
      if (!s.has(ggufAttentionFactor)) return yarn;
      return { ...yarn, attentionFactor: s.number(ggufAttentionFactor) * yarnAttentionFactor(yarn) };
    }
    default:
      return s.unsupported('rope.scaling.type', 'none, linear and yarn');
  }
}

function readHuggingFaceScaling(s: Settings | undefined, model: Settings): RopeScaling {
  if (s === undefined) return { kind: 'none' };
  const key = s.has('rope_type') ? 'rope_type' : 'type';
  const kind = s.string(key, 'default');
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: s.number('factor') };
    case 'llama3':
      return {
        kind: 'llama3',
        factor: s.number('factor'),
        lowFrequencyFactor: s.number('low_freq_factor'),
        highFrequencyFactor: s.number('high_freq_factor'),
        originalContextLength: s.count('original_max_position_embeddings'),
      };
    case 'yarn':
      return {
        kind: 'yarn',
        factor: s.number('factor'),
        originalContextLength: s.has('original_max_position_embeddings')
          ? s.count('original_max_position_embeddings')
          : model.count('max_position_embeddings'),
        betaFast: s.number('beta_fast', 32),
        betaSlow: s.number('beta_slow', 1),
        // As everywhere else where it is not denied.
        ...(!s.boolean('truncate', true) && { truncate: false }),
        ...(s.has('attention_factor') && { attentionFactor: s.number('attention_factor') }),
        ...(s.has('mscale') && { mscale: s.number('mscale') }),
        ...(s.has('mscale_all_dim') && { mscaleAllDimensions: s.number('mscale_all_dim') }),
      };
    default:
      return s.unsupported(key, 'default, linear, llama3 and yarn');
  }
}

function writeScaling(scaling: RopeScaling, keys: GgufKeys): void {
  switch (scaling.kind) {
    case 'none':
    case 'llama3': // Their factors are tensors.
    case 'longrope':
      return;
    case 'linear':
      keys.set('rope.scaling.type', 'linear');
      keys.setFloat('rope.scaling.factor', scaling.factor);
      return;
    case 'yarn':
      keys.set('rope.scaling.type', 'yarn');
      keys.setFloat('rope.scaling.factor', scaling.factor);
      keys.set('rope.scaling.original_context_length', scaling.originalContextLength);
      keys.setFloat('rope.scaling.yarn_beta_fast', scaling.betaFast ?? 32);
      keys.setFloat('rope.scaling.yarn_beta_slow', scaling.betaSlow ?? 1);
      writeAttentionFactor(scaling, keys);
      return;
    case 'ntk':
      throw new IngotError(
        'UnsupportedFile',
        `GGUF files of ${keys.architecture} have no key for NTK-aware rope scaling`,
      );
    default:
      scaling satisfies never;
  }
}

/** What ggml's own factor, which knows the stretch alone, has to be multiplied by. */
function writeAttentionFactor(scaling: Extract<RopeScaling, { kind: 'yarn' }>, keys: GgufKeys): void {
  const { kind, factor, originalContextLength } = scaling;
  const ratio = yarnAttentionFactor(scaling) / yarnAttentionFactor({ kind, factor, originalContextLength });
  if (ratio !== 1) keys.setFloat(ggufAttentionFactor, ratio);
}
