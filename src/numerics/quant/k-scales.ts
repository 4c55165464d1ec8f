/**
 * How ggml's Q4_K and Q5_K pack 6-bit scales sc and minima mn of 8 sub-blocks into 12 bytes: sc 0-3 and mn 0-3 are the low
 * 6 bits of bytes 0-3 and 4-7; sc 4-7 and mn 4-7 have their low 4 bits in the nibbles of bytes 8-11 and their high 2 bits
 * on top of bytes 0-3 and 4-7.
 */
export function scaleOf(bytes: Uint8Array, at: number, sub: number): number {
  if (sub < 4) return (bytes[at + sub] as number) & 63;
  return ((bytes[at + sub + 4] as number) & 15) | (((bytes[at + sub - 4] as number) >> 6) << 4);
}

export function minimumOf(bytes: Uint8Array, at: number, sub: number): number {
  if (sub < 4) return (bytes[at + sub + 4] as number) & 63;
  return ((bytes[at + sub + 4] as number) >> 4) | (((bytes[at + sub] as number) >> 6) << 4);
}

/** In ascending order of `sub`. */
export function writeScale(bytes: Uint8Array, at: number, sub: number, scale: number, minimum: number): void {
  if (sub < 4) {
    bytes[at + sub] = scale;
    bytes[at + sub + 4] = minimum;
  } else {
    bytes[at + sub + 4] = (scale & 15) | ((minimum & 15) << 4);
    bytes[at + sub - 4] = (bytes[at + sub - 4] as number) | ((scale >> 4) << 6);
    bytes[at + sub] = (bytes[at + sub] as number) | ((minimum >> 4) << 6);
  }
}
