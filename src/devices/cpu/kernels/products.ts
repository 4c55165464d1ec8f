/** Which products multiply a format in some numerics on an instruction set. */
import { IngotError } from '../../../base/errors.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import type { InstructionSet, Target } from '../target.ts';
import { bf16Product } from './bf16-products.ts';
import { floatProduct } from './float-products.ts';
import { integerProducts } from './integer-products.ts';
import { type IntegerFormat, isIntegerFormat } from './levels.ts';
import type { PackedFormat } from './packing.ts';
import { type Product, panelVectors, type UnpackedProduct } from './product.ts';
import { tileBf16Product } from './tile-bf16-products.ts';
import { tileIntegerProducts } from './tile-integer-products.ts';
import { unpackedIntegers } from './unpacked-integers.ts';
import { wideIntegerProducts } from './vnni-products.ts';

/** `unpacked` for as many tokens as its groups hold, `direct` for the rest; for all of them where there is only one. */
export interface Products {
  readonly direct?: Product;
  readonly unpacked?: UnpackedProduct;
}

interface IntegerProducts {
  readonly direct: Readonly<Record<IntegerFormat, Product>>;
  readonly unpacked?: Readonly<Record<IntegerFormat, UnpackedProduct>>;
}

const integers: Readonly<Record<InstructionSet, IntegerProducts>> = {
  avx2: { direct: integerProducts, unpacked: unpackedIntegers },
  avx512: { direct: wideIntegerProducts(false) },
  vnni: { direct: wideIntegerProducts(true) },
  amx: { direct: wideIntegerProducts(true), unpacked: tileIntegerProducts },
};

/** For a weight of `panels` panels. @throws IngotError 'UnsupportedOp' for a pair that is not defined. */
export function productsOf(
  format: PackedFormat,
  numerics: DotNumerics,
  { name, vectorBits }: Target,
  panels: number,
): Products {
  const vectors = panelVectors[vectorBits];
  switch (numerics) {
    case 'f32':
      return { direct: floatProduct(format, vectors) };
    case 'bf16':
      return { unpacked: name === 'amx' ? tileBf16Product(format, panels > 1 ? 2 : 1) : bf16Product(format, vectors) };
    case 'i8':
      if (isIntegerFormat(format)) {
        const { direct, unpacked } = integers[name];
        return { direct: direct[format], ...(unpacked && { unpacked: unpacked[format] }) };
      }
      throw new IngotError('UnsupportedOp', `no kernel multiplies weights of ${format} in numerics i8`, {
        op: 'quantized_dot',
        device: 'cpu',
      });
    default:
      return numerics satisfies never;
  }
}
