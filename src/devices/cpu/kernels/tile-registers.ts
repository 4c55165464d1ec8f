/**
 * Tile registers of a kernel: 0 to 3 hold sums, 16 rows of 16; 4 and 5 the left factor, 16 rows (tokens) of some bytes of
 * k; 6 and 7 the right one, a row for each 4 bytes of k, 16 columns (rows of a weight) of 4 bytes. A kernel configures them
 * when it begins and releases them before it returns, so that a thread that sleeps holds none.
 */
import type { Assembler } from '../asm/assembler.ts';
import { rip, type Tmm, tmm } from '../asm/operands.ts';

export const sumTile = (i: number): Tmm => tmm(i);
export const leftTile = (i: number): Tmm => tmm(4 + i);
export const rightTile = (i: number): Tmm => tmm(6 + i);

/** For products over `bytes` of k, at most 64: what LDTILECFG reads. */
export function tileConfig(bytes: number): DataView {
  const config = new DataView(new ArrayBuffer(64));
  config.setUint8(0, 1); // the palette
  for (let tile = 0; tile < 8; tile++) {
    config.setUint16(16 + 2 * tile, tile === 4 || tile === 5 ? bytes : 64, true);
    config.setUint8(48 + tile, tile < 6 ? 16 : bytes / 4);
  }
  return config;
}

export function configureTiles(a: Assembler, bytes: number): void {
  a.emit('ldtilecfg', rip(a.constant(tileConfig(bytes))));
}

export function releaseTiles(a: Assembler): void {
  a.emit('tilerelease');
}
