/** Which products multiply a format in some numerics on an instruction set. */
import { IngotError } from '../../../base/errors.ts';
import type { DotNumerics } from '../../../numerics/dot.ts';
import type { Schedule } from '../schedule.ts';
import type { InstructionSet, Target } from '../target.ts';
import { bf16Product } from './bf16-products.ts';
import { floatProduct, unpackedFloatProduct } from './float-products.ts';
import { integerProduct } from './integer-products.ts';
import { type IntegerFormat, isIntegerFormat } from './levels.ts';
import { packedBlockProduct } from './packed-blocks.ts';
import type { PackedFormat } from './packing.ts';
import { type BlockedProduct, type Product, panelVectors, type UnpackedProduct } from './product.ts';
import { tileBf16Product } from './tile-bf16-products.ts';
import { tileIntegerProduct } from './tile-integer-products.ts';
import { type Dots, unpackedDots } from './unpacked-dots.ts';
import { unpackedIntegerProduct } from './unpacked-integers.ts';
import { wideIntegerProduct } from './vnni-products.ts';

/**
 * `unpacked` for as many tokens as its groups hold, where there are enough for it, `direct` for the rest; for all of them where
 * there is only one.
 */
export interface Products {
  readonly direct?: Product;
  readonly unpacked?: BlockedProduct;
}

type ProductsOf = (format: IntegerFormat, schedule: Schedule) => Products;

/** Of vectors of 256 bits. */
const narrowProducts: ProductsOf = (format, schedule) => {
  const packed = packedBlockProduct(format);
  const unpacked = unpackedIntegerProduct(format, schedule, packed === undefined ? 4 : 12);
  return { direct: packed ?? integerProduct(format), unpacked: blocked(unpacked, schedule.decodedIntegers, schedule) };
};

/** Of signed bytes. */
const dotProducts =
  (dots: Dots): ProductsOf =>
  (format, schedule) => ({
    direct: integerProduct(format, true),
    unpacked: blocked(unpackedDots(format, schedule, dots), schedule.decodedIntegers, schedule),
  });

const integers: Readonly<Record<InstructionSet, ProductsOf>> = {
  avx2: narrowProducts,
  avx512: (format) => ({ direct: wideIntegerProduct(format, false) }),
  vnni: (format) => ({ direct: wideIntegerProduct(format, true) }),
  amx: (format, schedule) => ({
    direct: wideIntegerProduct(format, true),
    unpacked: blocked(tileIntegerProduct(format), schedule.decodedIntegers, schedule),
  }),
  neon: narrowProducts,
  dotprod: dotProducts('sdot'),
  i8mm: dotProducts('smmla'),
  bf16: dotProducts('smmla'),
};

/** `decoded`: k at a time. */
function blocked(product: UnpackedProduct, decoded: number, { unpackedTokens }: Schedule): BlockedProduct {
  return { ...product, steps: Math.max(1, decoded / product.step), chunk: unpackedTokens };
}

/** For a weight [N, K] of `panels` panels. @throws IngotError 'UnsupportedOp' for a pair that is not defined. */
export function productsOf(
  format: PackedFormat,
  numerics: DotNumerics,
  { name, vectorBits, schedule }: Target,
  { panels, K }: { readonly panels: number; readonly K: number },
): Products {
  const vectors = panelVectors[vectorBits];
  switch (numerics) {
    case 'f32': {
      const unpacked = unpackedFloatProduct(format, vectors, K);
      return {
        direct: floatProduct(format, vectors),
        ...(unpacked && { unpacked: blocked(unpacked, schedule.decodedFloats, schedule) }),
      };
    }
    case 'bf16': {
      const product =
        name === 'amx'
          ? tileBf16Product(format, panels > 1 ? 2 : 1)
          : bf16Product(format, vectors, name === 'bf16' ? 'bf16' : 'f32');
      return { unpacked: blocked(product, schedule.decodedFloats, schedule) };
    }
    case 'i8':
      if (isIntegerFormat(format)) return integers[name](format, schedule);
      throw new IngotError('UnsupportedOp', `no kernel multiplies weights of ${format} in numerics i8`, {
        op: 'quantized_dot',
        device: 'cpu',
      });
    default:
      return numerics satisfies never;
  }
}
