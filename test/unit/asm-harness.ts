/**
 * Operands drawn at random for an instruction form, and the system assembler (GNU binutils) as the judge of our bytes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Form, Slot } from '../../src/devices/cpu/asm/forms.ts';
import {
  absolute,
  ah,
  bh,
  broadcast,
  gp,
  indexed,
  k,
  type Label,
  type Mem,
  masked,
  type Operand,
  ptr,
  rip,
  rounding,
  sized,
  tmm,
  vec,
  zeroed,
} from '../../src/devices/cpu/asm/operands.ts';

/** Whole numbers below a bound, the same ones for the same seed (mulberry32). */
export class Draw {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }
}

const SCALES = [1, 2, 4, 8] as const;

function drawDisplacement(draw: Draw): number {
  switch (draw.below(5)) {
    case 0:
      return 0;
    case 1:
      return draw.below(256) - 128;
    case 2:
      return (draw.below(300) - 150) * draw.of([2, 4, 8, 16, 32, 64]);
    case 3:
      return draw.of([127, 128, -128, -129, 8128, -8192, 8192]);
    default:
      return draw.below(2 ** 32) - 2 ** 31;
  }
}

/** @param next the place that follows the instruction, for rip-relative operands. */
function drawMemory(draw: Draw, slot: Slot, evex: boolean, next: Label): Mem {
  const disp = drawDisplacement(draw);
  const scale = draw.of(SCALES);
  const base = gp(draw.below(16), 64);
  if (slot.vsib !== undefined) {
    return indexed(draw.chance(5) ? undefined : base, vec(draw.below(evex ? 32 : 16), slot.vsib), scale, disp);
  }
  let index = gp(draw.below(16), 64);
  if (index.id === 4) index = gp(12, 64);
  const kinds = slot.sib ? 3 : 5;
  const place = [
    ptr(base, disp),
    indexed(base, index, scale, disp),
    indexed(undefined, index, draw.of([2, 4, 8]), disp),
  ];
  const rest = [rip(next, disp), absolute(disp)];
  return [...place, ...rest][draw.below(kinds)];
}

function drawImmediate(draw: Draw, imm: NonNullable<Slot['imm']>): number | bigint {
  const edge = (bits: number, signed: boolean) => {
    const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
    return draw.of([0, 1, 2, high, -(2 ** (bits - 1)), draw.below(2 ** (bits - 1)), -draw.below(2 ** (bits - 1))]);
  };
  switch (imm) {
    case 'one':
      return 1;
    case 'i8':
      return edge(8, false);
    case 's8':
      return edge(8, true);
    case 'i16':
      return edge(16, true);
    case 'i32':
      return edge(32, true);
    case 's32':
      return edge(32, true);
    case 'i64':
      return (BigInt(draw.below(2 ** 32)) << 32n) | BigInt(draw.below(2 ** 32));
    default:
      return imm satisfies never;
  }
}

type Alternative = 'register' | 'memory' | 'broadcast' | 'immediate';

function alternatives(slot: Slot): Alternative[] {
  const found: Alternative[] = [];
  if (slot.gp !== undefined || slot.vec !== undefined || slot.k || slot.tile) found.push('register');
  if (slot.mem !== undefined) found.push('memory');
  if (slot.bcst !== undefined) found.push('broadcast');
  if (slot.imm !== undefined) found.push('immediate');
  return found;
}

function drawRegister(draw: Draw, slot: Slot, evex: boolean): Operand {
  const mask = k(1 + draw.below(7));
  const masking = slot.mask === 'needed' || (slot.mask !== undefined && draw.chance(2));
  if (slot.gp === 8 && slot.fixed === undefined && draw.chance(6)) return draw.of([ah, bh]);
  if (slot.gp !== undefined) return gp(slot.fixed ?? draw.below(16), slot.gp);
  if (slot.vec !== undefined) {
    const register = vec(draw.below(evex ? 32 : 16), slot.vec);
    if (!masking) return register;
    return slot.mask === 'zero' && draw.chance(2) ? zeroed(register, mask) : masked(register, mask);
  }
  if (slot.tile) return tmm(draw.below(8));
  const register = k(draw.below(8));
  return masking ? masked(register, mask) : register;
}

/** One operand list for a form, or undefined where the draw has no encoding. */
export function drawOperands(draw: Draw, form: Form, next: Label): Operand[] {
  const evex = form.space === 'evex';
  const operands = form.slots.map((slot): Operand => {
    const memory = () => {
      const mem = drawMemory(draw, slot, evex, next);
      const whole = slot.mem === undefined || slot.vsib !== undefined ? mem : sized(mem, slot.mem);
      const masking =
        slot.mask !== undefined && slot.mask !== 'zero' ? draw.chance(2) || slot.mask === 'needed' : false;
      return masking ? masked(whole, k(1 + draw.below(7))) : whole;
    };
    const kind = draw.of(alternatives(slot));
    if (kind === 'memory') return memory();
    if (kind === 'broadcast') return sized(broadcast(drawMemory(draw, slot, evex, next)), slot.mem ?? 0);
    if (kind === 'immediate' && slot.imm !== undefined) return drawImmediate(draw, slot.imm);
    return drawRegister(draw, slot, evex);
  });
  const inMemory = operands.some((operand) => typeof operand === 'object' && operand.kind === 'mem');
  if (form.rounding !== undefined && !inMemory && draw.chance(2)) {
    const modes = ['rn-sae', 'rd-sae', 'ru-sae', 'rz-sae'] as const;
    operands.push(rounding(form.rounding === 'sae' ? 'sae' : draw.of(modes)));
  }
  return operands;
}

export const hasBinutils =
  spawnSync('as', ['--version']).status === 0 && spawnSync('objcopy', ['--version']).status === 0;

/** The bytes that `as` makes of a source in Intel syntax. */
export function assembleBySystem(source: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-asm-'));
  try {
    writeFileSync(join(folder, 'a.s'), `.intel_syntax noprefix\n.text\n${source}\n`);
    const run = (command: string, words: string[]) => {
      const { status, stderr } = spawnSync(command, words, { cwd: folder, encoding: 'utf8' });
      if (status !== 0) {
        const lines = source.split('\n');
        const explain = (line: string) => {
          const number = /a\.s:(\d+):/.exec(line)?.[1];
          return number === undefined ? line : `${line}   <- ${lines[Number(number) - 3]}`;
        };
        throw new Error(
          `${command}: ${stderr
            .split('\n')
            .filter((l) => !l.includes('Warning'))
            .slice(0, 60)
            .map(explain)
            .join('\n')}`,
        );
      }
    };
    run('as', ['--64', '-o', 'a.o', 'a.s']);
    run('objcopy', ['-O', 'binary', '-j', '.text', 'a.o', 'a.bin']);
    return new Uint8Array(readFileSync(join(folder, 'a.bin')));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const hex = (bytes: Iterable<number>) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
