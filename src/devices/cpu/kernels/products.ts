/** Which products multiply a format in some numerics on an instruction set. */
import { IngotError } from '../../../base/errors.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import type { Target } from '../target.ts';
import { bf16Product } from './bf16-products.ts';
import { floatProduct } from './float-products.ts';
import { integerProducts } from './integer-products.ts';
import { isIntegerFormat } from './levels.ts';
import type { PackedFormat } from './packing.ts';
import { type Product, panelVectors, type UnpackedProduct } from './product.ts';
import { unpackedIntegers } from './unpacked-integers.ts';

/** `unpacked` for as many tokens as its groups hold, `direct` for the rest; for all of them where there is only one. */
export interface Products {
  readonly direct?: Product;
  readonly unpacked?: UnpackedProduct;
}

/** @throws IngotError 'UnsupportedOp' for a pair that is not defined. */
export function productsOf(format: PackedFormat, numerics: DotNumerics, { vectorBits }: Target): Products {
  const vectors = panelVectors[vectorBits];
  switch (numerics) {
    case 'f32':
      return { direct: floatProduct(format, vectors) };
    case 'bf16':
      return { unpacked: bf16Product(format, vectors) };
    case 'i8':
      if (isIntegerFormat(format)) return { direct: integerProducts[format], unpacked: unpackedIntegers[format] };
      throw new IngotError('UnsupportedOp', `no kernel multiplies weights of ${format} in numerics i8`, {
        op: 'quantized_dot',
        device: 'cpu',
      });
    default:
      return numerics satisfies never;
  }
}
