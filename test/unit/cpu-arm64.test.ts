/**
 * Every row of the translation to arm64 against the processor of this machine: an instruction of x86-64 with operands drawn at
 * random runs here, and what it becomes runs in qemu-aarch64. Registers, memory and what conditions say have to be the same bits.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { translate } from '../../src/devices/cpu/arm64/translate.ts';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import {
  ecx,
  type Gp,
  gp,
  indexed,
  type Mem,
  type Operand,
  ptr,
  r8,
  r8b,
  r8d,
  r9,
  r10,
  r11,
  r11d,
  rax,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  sized,
  xmm,
  ymm,
} from '../../src/devices/cpu/asm/operands.ts';
import type { Mnemonic } from '../../src/devices/cpu/asm/tables.ts';
import { arithmeticKernels, copyKernel, readKernel } from '../../src/devices/cpu/limit-kernels.ts';
import { loopCode } from '../../src/devices/cpu/machine-code.ts';
import { Draw } from './asm-harness.ts';
import { type Machine, machineOf } from './machine.ts';

const [here, there] = [machineOf('avx2'), machineOf('neon')];
const skip =
  typeof here === 'string' ? `skipped, because ${here}` : typeof there === 'string' && `skipped, because ${there}`;

/** Bytes of the block that a sample works on: sources, results, memory that it reads and writes. */
const block = { general: 0, vectors: 64, memory: 64 + 3 * 32, bytes: 64 + 3 * 32 + 64 } as const;
const GENERAL = [r8, r9, r10] as const;
const memory = (bits: number, at = 0): Mem => sized(ptr(rdi, block.memory + at), bits);

interface Sample {
  readonly text: string;
  emit(a: Assembler): void;
}

/** A function of all samples: each loads registers from its block, does one thing, and stores them again. */
function program(samples: readonly Sample[]): Assembler {
  const a = new Assembler();
  for (const { emit } of samples) {
    for (const [i, register] of GENERAL.entries()) a.emit('mov', register, ptr(rdi, 8 * i));
    for (let i = 0; i < 3; i++) a.emit('vmovups', ymm(i), ptr(rdi, block.vectors + 32 * i));
    emit(a);
    for (const [i, register] of GENERAL.entries()) a.emit('mov', ptr(rdi, 8 * i), register);
    for (let i = 0; i < 3; i++) a.emit('vmovups', ptr(rdi, block.vectors + 32 * i), ymm(i));
    a.emit('add', rdi, block.bytes);
  }
  a.emit('vzeroupper');
  a.emit('ret');
  return a;
}

const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1.5,
  2.5,
  -2.5,
  3e38,
  -3e38,
  1e-40,
  2147483648,
  -2147483648,
  1e10,
  70000,
  Number.POSITIVE_INFINITY,
];

/** Bits of a kind: any, f32, f64, small counts. */
function fill(bytes: Uint8Array, draw: Draw, kind: Kind): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const float = () => (draw.chance(3) ? draw.of(FLOATS) : (draw.below(2 ** 20) - 2 ** 19) / 2 ** draw.below(20));
  for (let at = 0; at < bytes.length; at += 8) {
    view.setUint32(at, draw.below(2 ** 32), true);
    view.setUint32(at + 4, draw.below(2 ** 32), true);
    if (at < block.vectors) {
      if (draw.chance(3)) view.setBigUint64(at, BigInt(draw.below(70)), true);
      continue;
    }
    if (kind === 'f32') for (const i of [0, 4]) view.setFloat32(at + i, draw.chance(9) ? Number.NaN : float(), true);
    if (kind === 'f64') view.setFloat64(at, draw.chance(9) ? Number.NaN : float(), true);
    if (kind === 'f16')
      for (const i of [0, 2, 4, 6]) view.setUint16(at + i, draw.below(0x7c00) | (draw.below(2) << 15), true);
    if (kind === 'counts') view.setBigUint64(at, BigInt(draw.below(70)) | (BigInt(draw.below(70)) << 32n), true);
    if (kind === 'bytes')
      for (let i = 0; i < 8; i++) view.setUint8(at + i, draw.of([0, 1, 127, 128, 255, draw.below(256)]));
  }
}

type Kind = 'any' | 'f32' | 'f64' | 'f16' | 'counts' | 'bytes';

/** Runs samples on both machines and compares their blocks. Numbers that are none have no bits that matter. */
function compare(samples: readonly Sample[], kind: Kind, seed: number): void {
  assert.ok(typeof here !== 'string' && typeof there !== 'string');
  const draw = new Draw(seed);
  const input = new Uint8Array(samples.length * block.bytes);
  for (let at = 0; at < input.length; at += block.bytes) fill(input.subarray(at, at + block.bytes), draw, kind);
  const source = program(samples);
  const run = (machine: Machine, code: Uint8Array): Uint8Array => {
    using place = machine.map(input.length);
    place.bytes.set(input);
    machine.call(code, [[place.address, 0, 1]], [place]);
    return place.bytes.slice();
  };
  const wanted = run(here, source.assemble().bytes);
  const neon = { dotprod: false, i8mm: false, bf16: false };
  const found = run(there, translate(source, { extensions: neon }).bytes);
  samples.forEach(({ text }, i) => {
    const at = i * block.bytes;
    const part = (bytes: Uint8Array) => canonical(bytes.slice(at, at + block.bytes), kind);
    const [own, theirs] = [part(found), part(wanted)];
    if (own.some((value, at) => !Object.is(value, theirs[at])))
      assert.fail(`${text} of ${part(input)}:\n${own}\nis not\n${theirs}`);
  });
}

function canonical(bytes: Uint8Array, kind: Kind): readonly number[] {
  if (kind === 'f64') return [...new Float64Array(bytes.buffer)].map((x) => (Object.is(x, -0) ? -0 : x));
  if (kind !== 'f32' && kind !== 'f16') return [...bytes];
  const general = [...bytes.subarray(0, block.vectors)];
  return [...general, ...new Float32Array(bytes.buffer, block.vectors)];
}

const one = (mnemonic: Mnemonic, ...operands: Operand[]): Sample => ({
  text: mnemonic,
  emit: (a) => a.emit(mnemonic, ...operands),
});

/** Three operands in registers and memory, of 128 and 256 bits, one of them the destination too. */
function three(mnemonic: Mnemonic, widths: readonly (128 | 256)[] = [128, 256]): Sample[] {
  return widths.flatMap((bits) => {
    const v = bits === 128 ? xmm : ymm;
    return [
      one(mnemonic, v(0), v(1), v(2)),
      one(mnemonic, v(1), v(1), v(2)),
      one(mnemonic, v(2), v(1), v(2)),
      one(mnemonic, v(0), v(1), memory(bits)),
    ];
  });
}
const twice = (samples: Sample[]) => Array.from({ length: 6 }, () => samples).flat();
const check = (name: string, kind: Kind, samples: readonly Sample[]) =>
  test(`arm64: ${name}`, { skip }, () => {
    compare(twice([...samples]), kind, samples.length);
  });

check('arithmetic of f32', 'f32', [
  ...(['vaddps', 'vsubps', 'vmulps', 'vdivps', 'vminps', 'vmaxps', 'vunpcklps', 'vunpckhps'] as const).flatMap((m) =>
    three(m),
  ),
  ...(['vfmadd213ps', 'vfmadd231ps', 'vfmsub213ps', 'vfnmadd213ps', 'vfnmadd231ps', 'vfnmadd132ps'] as const).flatMap(
    (m) => three(m),
  ),
  ...[0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 17, 29, 30].map((p) => one('vcmpps', ymm(0), ymm(1), ymm(2), p)),
  ...[8, 9, 10, 11].map((mode) => one('vroundps', ymm(0), ymm(1), mode)),
  ...[0x88, 0xdd, 0x1b, 0x4e].map((choice) => one('vshufps', ymm(0), ymm(1), ymm(2), choice)),
  one('vsqrtps', ymm(0), ymm(1)),
  one('vblendvps', ymm(0), ymm(1), ymm(2), ymm(0)),
  ...(['vaddss', 'vsubss', 'vmulss', 'vdivss', 'vminss', 'vmaxss'] as const).flatMap((m) => [
    one(m, xmm(0), xmm(1), xmm(2)),
    one(m, xmm(2), xmm(1), xmm(2)),
    one(m, xmm(1), xmm(1), memory(32)),
  ]),
  one('vcmpss', xmm(0), xmm(1), xmm(2), 17),
  one('vbroadcastss', ymm(0), memory(32)),
  one('vbroadcastss', ymm(0), xmm(1)),
]);

check('arithmetic of f64', 'f64', [
  ...(['vaddpd', 'vsubpd', 'vmulpd', 'vdivpd', 'vminpd', 'vmaxpd', 'vunpcklpd', 'vunpckhpd'] as const).flatMap((m) =>
    three(m),
  ),
  ...(['vfmadd213pd', 'vfmadd231pd', 'vfmsub213pd', 'vfnmadd213pd', 'vfnmadd231pd'] as const).flatMap((m) => three(m)),
  ...[0, 1, 2, 4, 13, 14, 17, 29, 30].map((p) => one('vcmppd', ymm(0), ymm(1), ymm(2), p)),
  ...[8, 9, 10, 11].map((mode) => one('vroundpd', ymm(0), ymm(1), mode)),
  one('vsqrtpd', ymm(0), ymm(1)),
  one('vblendvpd', ymm(0), ymm(1), ymm(2), ymm(0)),
  one('vaddsd', xmm(0), xmm(1), xmm(2)),
]);

check('conversions of f32', 'f32', [
  one('vcvttps2dq', ymm(0), ymm(1)),
  one('vcvtps2dq', ymm(0), ymm(1)),
  one('vcvttss2si', r8, xmm(1)),
  one('vcvtps2ph', xmm(0), ymm(1), 0),
  one('vcvtps2ph', xmm(0), xmm(1), 0),
]);
check('conversions of f64', 'f64', [
  one('vcvttsd2si', r8, xmm(1)),
  one('vcvttpd2dq', xmm(0), ymm(1)),
  one('vcvttpd2dq', xmm(0), xmm(1)),
]);
check(
  'conversions to f64, as bits of f32',
  'f32',
  [one('vcvtps2pd', xmm(0), xmm(1)), one('vcvtps2pd', ymm(0), xmm(0))].slice(0, 1),
);
check('conversions of f16', 'f16', [
  one('vcvtph2ps', ymm(0), xmm(1)),
  one('vcvtph2ps', xmm(0), xmm(0)),
  one('vcvtph2ps', ymm(0), memory(128)),
]);

const INTEGERS = [
  ...(['vpaddb', 'vpaddw', 'vpaddd', 'vpaddq', 'vpsubb', 'vpsubw', 'vpsubd', 'vpsubq', 'vpmulld', 'vpmullw'] as const),
  ...(['vpand', 'vpor', 'vpxor', 'vpandn', 'vandps', 'vorps', 'vxorps', 'vandnps'] as const),
  ...(['vpcmpeqb', 'vpcmpeqw', 'vpcmpeqd', 'vpcmpeqq', 'vpcmpgtb', 'vpcmpgtd', 'vpcmpgtq'] as const),
  ...(['vpmaxsd', 'vpminsd', 'vpmaxud', 'vpminud'] as const),
  ...(['vpunpcklbw', 'vpunpckhbw', 'vpunpcklwd', 'vpunpckldq', 'vpunpcklqdq', 'vpunpckhqdq'] as const),
  ...(['vpackssdw', 'vpackusdw', 'vpacksswb', 'vpackuswb', 'vpshufb', 'vpsignb', 'vpmaddubsw', 'vpmaddwd'] as const),
] as const;
for (const kind of ['any', 'bytes'] as const) {
  check(`integers in lanes (${kind})`, kind, [
    ...INTEGERS.flatMap((m) => three(m)),
    ...(['vpabsb', 'vpabsw', 'vpabsd'] as const).flatMap((m) => [one(m, ymm(0), ymm(1)), one(m, xmm(0), memory(128))]),
  ]);
}

check('shifts in lanes', 'counts', [
  ...(['vpsllvd', 'vpsrlvd', 'vpsravd', 'vpsllvq', 'vpsrlvq'] as const).flatMap((m) => three(m)),
  ...(['vpslld', 'vpsrld', 'vpsrad', 'vpsllq', 'vpsrlq', 'vpsllw', 'vpsrlw', 'vpsraw'] as const).flatMap((m) =>
    [0, 1, 7, 15, 16, 31, 32, 63, 64, 200].map((by) => one(m, ymm(0), ymm(1), by)),
  ),
]);

check('moves of vectors', 'any', [
  ...(['vmovups', 'vmovdqu'] as const).flatMap((m) => [
    one(m, ymm(0), ymm(1)),
    one(m, xmm(0), xmm(1)),
    one(m, xmm(0), memory(128)),
    one(m, memory(256), ymm(1)),
    one(m, memory(128, 8), xmm(1)),
  ]),
  ...[one('vmovss', xmm(0), memory(32)), one('vmovss', memory(32), xmm(1)), one('vmovsd', xmm(0), memory(64))],
  ...[one('vmovd', xmm(0), r8d), one('vmovd', r11d, xmm(1)), one('vmovq', xmm(0), r8), one('vmovq', r8, xmm(1))],
  ...[one('vpbroadcastb', xmm(0), memory(8)), one('vpbroadcastw', ymm(0), memory(16))],
  ...[
    one('vpbroadcastd', ymm(0), xmm(1)),
    one('vpbroadcastq', ymm(0), xmm(1)),
    one('vpbroadcastd', ymm(1), memory(32)),
    one('vbroadcasti128', ymm(0), memory(128)),
  ],
  ...(
    ['vpmovsxbd', 'vpmovzxbd', 'vpmovsxbw', 'vpmovzxbw', 'vpmovsxwd', 'vpmovzxwd', 'vpmovsxdq', 'vpmovzxdq'] as const
  ).flatMap((m) => [one(m, ymm(0), xmm(1)), one(m, ymm(1), xmm(1)), one(m, xmm(0), xmm(1))]),
  ...[
    one('vpmovsxbd', ymm(0), memory(64)),
    one('vpmovzxwd', xmm(0), memory(64)),
    one('vpmovzxbw', ymm(0), memory(128)),
  ],
  ...[one('vpinsrb', xmm(0), xmm(1), memory(8), 5), one('vpinsrw', xmm(0), xmm(1), memory(16), 7)],
  ...[one('vpinsrd', xmm(0), xmm(1), memory(32), 3), one('vpinsrq', xmm(0), xmm(0), memory(64), 1)],
  ...[
    one('vpextrb', memory(8), xmm(1), 9),
    one('vpextrw', memory(16), xmm(1), 3),
    one('vpextrd', memory(32), xmm(1), 2),
  ],
  ...[one('vpextrq', memory(64), xmm(1), 1), one('vpextrd', r8d, xmm(1), 1)],
  ...[
    one('vextractf128', xmm(0), ymm(1), 1),
    one('vextractf128', xmm(1), ymm(1), 1),
    one('vextracti128', memory(128), ymm(1), 1),
  ],
  ...[0, 1].flatMap((half) => [
    one('vinsertf128', ymm(0), ymm(1), xmm(2), half),
    one('vinsertf128', ymm(2), ymm(1), xmm(2), half),
    one('vinsertf128', ymm(1), ymm(1), xmm(1), half),
    one('vinserti128', ymm(0), ymm(1), memory(128), half),
  ]),
  ...[0xee, 0x4e, 0xb1, 0x55, 0x1b, 0x00, 0x39].map((choice) => one('vpshufd', ymm(0), ymm(1), choice)),
  ...[0xd8, 0x4e, 0x1b].map((choice) => one('vpermq', ymm(1), ymm(1), choice)),
  ...[one('vpermd', ymm(0), ymm(1), ymm(2)), one('vpermd', ymm(2), ymm(1), ymm(2))],
  ...[one('vmovmskps', r8d, ymm(1)), one('vmovmskpd', r8d, ymm(1)), one('vmovmskpd', r8d, xmm(1))],
  ...[one('vmaskmovps', ymm(0), ymm(1), memory(256)), one('vmaskmovps', memory(256), ymm(1), ymm(2))],
  ...[one('vmaskmovpd', ymm(0), ymm(1), memory(256)), one('vmaskmovpd', memory(256), ymm(1), ymm(2))],
  ...[one('vcvtdq2ps', ymm(0), ymm(1)), one('vcvtdq2pd', ymm(0), xmm(1)), one('vcvtsi2ss', xmm(0), xmm(1), r8)],
  one('vcvtsi2sd', xmm(0), xmm(1), r8),
  one('vpxor', ymm(0), ymm(0), ymm(0)),
]);

test('arm64: gathers', { skip }, () => {
  const gathers = (['vgatherdps', 'vgatherdpd'] as const).flatMap((m) => [
    {
      text: m,
      emit(a: Assembler) {
        // Indices of 0 to 7 in the block.
        a.emit('vpsrld', ymm(1), ymm(1), 29);
        a.emit(m, ymm(0), indexed(rdi, m === 'vgatherdps' ? ymm(1) : xmm(1), 4, 64), ymm(2));
      },
    },
  ]);
  compare(twice(gathers), 'any', 5);
});

const BOTH: readonly (readonly [Gp, Gp])[] = [
  [r8, r9],
  [r8d, gp(9, 32)],
];
const immediates = [0, 1, -1, 100, 4095, 4096, -4097, 0x12345678];
check('arithmetic of general registers', 'any', [
  ...(['add', 'sub', 'and', 'or', 'xor', 'imul'] as const).flatMap((m) => BOTH.map(([a, b]) => one(m, a, b))),
  ...(['add', 'sub', 'and', 'or', 'xor', 'cmp'] as const).flatMap((m) =>
    immediates.flatMap((i) => [one(m, r8, i), one(m, r8d, i)]),
  ),
  ...(['add', 'sub'] as const).flatMap((m) => [one(m, memory(32), r8d), one(m, r8, memory(64)), one(m, memory(32), 7)]),
  ...(['shl', 'shr', 'sar'] as const).flatMap((m) => [one(m, r8, 5), one(m, r8d, 31), one(m, r8, 63)]),
  ...(['shlx', 'shrx', 'sarx'] as const).map((m) => one(m, r8, r9, r10)),
  ...[
    one('neg', r8),
    one('not', r8),
    one('inc', memory(64)),
    one('dec', r8),
    one('imul', r8, r9, 100),
    one('imul', r8d, gp(9, 32), -7),
  ],
  ...[
    one('lzcnt', r8, r9),
    one('popcnt', r8, r9),
    one('xchg', r8, r9),
    one('lock xadd', memory(64), r8),
    one('lock inc', memory(32)),
  ],
  ...[
    one('xchg', memory(32), r8d),
    one('movsx', r8, r8b(r9)),
    one('movzx', r8d, r8b(r9)),
    one('movsxd', r8, gp(9, 32)),
  ],
  ...[
    one('movsx', r8, memory(16)),
    one('movzx', r8d, memory(16)),
    one('movsxd', r8, memory(32)),
    one('movsx', r8d, memory(8)),
  ],
  ...[
    one('mov', memory(8), r8b(r9)),
    one('mov', memory(32), -5),
    one('mov', r8, 0x123456789abcdefn),
    one('mov', r8, -2),
  ],
  ...[
    one('lea', r8, indexed(r9, r10, 8, 12345)),
    one('lea', r8d, indexed(r9, r10, 2, -8)),
    one('lea', r8, indexed(undefined, r10, 4, 64)),
  ],
  {
    text: 'div',
    emit(a) {
      a.emit('mov', rsi, rdx);
      a.emit('mov', rax, r8);
      a.emit('xor', r11d, r11d);
      a.emit('mov', rdx, r11);
      a.emit('or', r9, 1);
      a.emit('div', r9);
      a.emit('mov', r8, rax);
      a.emit('mov', r10, rdx);
    },
  },
  {
    text: 'idiv',
    emit(a) {
      a.emit('mov', rax, r8);
      a.emit('shr', r9, 8);
      a.emit('or', r9, 3);
      a.emit('cqo');
      a.emit('idiv', r9);
      a.emit('mov', r8, rax);
      a.emit('mov', r10, rdx);
    },
  },
  ...[0x7f7f7f7fn, 0xfe00fe00n, 0xffffffffn].flatMap((mask) =>
    (['pdep', 'pext'] as const).map((m) => ({
      text: m,
      emit(a: Assembler) {
        a.emit('mov', rcx, mask);
        a.emit(m, r8, r9, rcx);
      },
    })),
  ),
  {
    text: 'bsf',
    emit(a) {
      a.emit('or', r9, 1);
      a.emit('bsf', r8, r9);
    },
  },
  {
    text: 'push and pop',
    emit(a) {
      a.emit('push', rbx);
      a.emit('mov', rbx, r8);
      a.emit('push', rbx);
      a.emit('mov', r9, ptr(rsp));
      a.emit('pop', r10);
      a.emit('pop', rbx);
    },
  },
  {
    text: 'rep movsb',
    emit(a) {
      a.emit('mov', r11, rdi);
      a.emit('lea', rsi, ptr(rdi, block.vectors));
      a.emit('lea', rdi, ptr(rdi, block.memory));
      a.emit('mov', ecx, 37);
      a.emit('rep movsb');
      a.emit('mov', rdi, r11);
    },
  },
]);

const CONDITIONS = ['e', 'ne', 'l', 'le', 'g', 'ge', 'b', 'be', 'a', 'ae', 's', 'ns'] as const;
/** What sets flags, and which conditions may then be asked for. */
const setters: readonly (readonly [string, (a: Assembler) => void, readonly (typeof CONDITIONS)[number][]])[] = [
  ['cmp', (a) => a.emit('cmp', r8, r9), CONDITIONS],
  ['cmp of 32 bits', (a) => a.emit('cmp', r8d, gp(9, 32)), CONDITIONS],
  ['cmp with memory', (a) => a.emit('cmp', memory(8), 100), CONDITIONS.slice(0, -2)],
  ['cmp with a negative number', (a) => a.emit('cmp', r8d, -8388608), CONDITIONS],
  ['test', (a) => a.emit('test', r8d, gp(9, 32)), CONDITIONS],
  ['sub', (a) => a.emit('sub', r8, r9), CONDITIONS],
  ['add', (a) => a.emit('add', r8, r9), ['e', 'ne', 'b', 'ae', 's', 'ns', 'l', 'ge', 'le', 'g']],
  ['and', (a) => a.emit('and', r8, r9), CONDITIONS],
  ['or', (a) => a.emit('or', r8, r9), CONDITIONS],
  ['dec', (a) => a.emit('dec', r8), ['e', 'ne', 'l', 'le', 'g', 'ge', 's', 'ns']],
];
check('conditions', 'any', [
  ...setters.flatMap(([text, set, conditions]) =>
    conditions.flatMap((condition): Sample[] => [
      {
        text: `${text}, set${condition}`,
        emit(a) {
          set(a);
          if (condition !== 's' && condition !== 'ns') a.emit(`set${condition}`, r8b(r10));
        },
      },
      {
        text: `${text}, j${condition}`,
        emit(a) {
          const over = a.label();
          set(a);
          a.emit(`j${condition}`, over);
          a.emit('mov', r10, 1);
          a.bind(over);
        },
      },
    ]),
  ),
  ...(['cmove', 'cmovne', 'cmovl', 'cmovg', 'cmovb', 'cmova'] as const).map((m) => ({
    text: m,
    emit(a: Assembler) {
      a.emit('cmp', r8, r9);
      a.emit(m, r8, r10);
    },
  })),
]);

test('the kernels that measure a machine run there, and the copy copies', { skip }, () => {
  assert.ok(typeof there !== 'string');
  const code = (source: Assembler) => loopCode(source, 'arm64', new Set()).bytes;
  const length = 2 * 512 * 5;
  using from = there.map(length);
  from.bytes.set(Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8)));
  using to = there.map(length);
  using words = there.map(24);
  const call = (source: Assembler, values: readonly number[]) => {
    new BigUint64Array(words.bytes.buffer, words.bytes.byteOffset, 3).set(values.map(BigInt));
    there.call(
      code(source),
      [0, 1].map((index) => [words.address, index, 2] as const),
      [words, from, to],
    );
  };
  call(copyKernel(), [to.address, from.address, length]);
  assert.deepEqual(to.bytes, from.bytes);
  for (const prefetch of ['none', 'prefetcht0', 'prefetchnta'] as const) {
    for (const streams of [1, 2, 4] as const) {
      call(readKernel({ streams, prefetch, prefetchBytes: 2048 }), [from.address, length, 0]);
    }
  }
  for (const name of ['multiplyAdd', 'fused', 'maddubs'] as const)
    call(arithmeticKernels[name](256).source, [100, 0, 0]);
});
