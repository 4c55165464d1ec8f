/**
 * Folders of Hugging Face whose weights lie in parts: `quantization_config` of config.json says how. Each weight becomes one tensor
 * again, in blocks that devices multiply by as they are; nothing is decoded.
 */
import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from './checkpoint.ts';
import { joinFp8 } from './fp8-weights.ts';
import { isJsonObject, type JsonObject } from './json.ts';
import { joinPackedIntegers } from './packed-integers.ts';

type Tensors = ReadonlyMap<string, StoredTensor>;

/** @throws IngotError 'UnsupportedFile' for other ways, naming them; 'InvalidFile' for parts that do not fit together. */
export function joinQuantizedWeights(config: JsonObject, tensors: Tensors, path: string): Tensors {
  const settings = config.quantization_config;
  if (!isJsonObject(settings)) return tensors;
  const unsupported = (what: string): never => {
    throw new IngotError('UnsupportedFile', `weights quantized by ${what} are not supported`, {
      path,
      hint: 'supported are FP8, AWQ and GPTQ; or take a GGUF file of this model',
    });
  };
  const method = settings.quant_method;
  switch (method) {
    case 'fp8':
    case 'fbgemm_fp8':
      return joinFp8(tensors, tileOf(settings.weight_block_size));
    case 'compressed-tensors':
      if (settings.format !== 'float-quantized') return unsupported(`compressed-tensors "${settings.format}"`);
      return joinFp8(tensors, tileOf(settings.weight_block_size));
    case 'awq': {
      const version = settings.version ?? 'gemm';
      if (version !== 'gemm' && version !== 'GEMM') return unsupported(`AWQ "${version}"`);
      const bits = settings.bits ?? settings.w_bit;
      if (bits !== 4) return unsupported(`AWQ of ${bits} bits`);
      return joinPackedIntegers(tensors, {
        method,
        bits,
        symmetric: false,
        zeroOffset: 0,
        ...groupOf(settings.group_size ?? settings.q_group_size),
      });
    }
    case 'gptq': {
      const { bits, group_size: group, sym, desc_act: reordered, checkpoint_format: version } = settings;
      if (bits !== 2 && bits !== 4 && bits !== 8) return unsupported(`GPTQ of ${bits} bits`);
      if (reordered === true && group !== -1) return unsupported('GPTQ with reordered columns (act-order, desc_act)');
      return joinPackedIntegers(tensors, {
        method,
        bits,
        symmetric: sym === true,
        zeroOffset: version === 'gptq_v2' ? 0 : 1,
        ...groupOf(group),
      });
    }
    // Its parts are known to the architectures that have them.
    case 'mxfp4':
      return tensors;
    default:
      return unsupported(JSON.stringify(method)?.slice(0, 40) ?? 'an unnamed method');
  }
}

function groupOf(size: unknown): { readonly group?: number } {
  return typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? { group: size } : {};
}

function tileOf(size: unknown): readonly [number, number] {
  const [rows, columns] = Array.isArray(size) ? size : [128, 128];
  const usable = [rows, columns].every((length) => Number.isSafeInteger(length) && length > 0);
  return usable ? [rows, columns] : [128, 128];
}
