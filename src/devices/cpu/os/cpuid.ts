/**
 * What an x86-64 processor can do, from the CPUID instruction (Intel SDM volume 2A; AMD APM volume 3, appendix E), and what
 * the operating system lets programs use, from XCR0 (XGETBV). Names are those of Linux' /proc/cpuinfo.
 */
import type { CpuFeatures, TileUnit } from './os.ts';

export interface CpuidRegisters {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

export interface CpuidSource {
  cpuid(leaf: number, subleaf: number): CpuidRegisters;
  /** The low half of XCR0. Called only where XGETBV exists. */
  xgetbv(): number;
}

/** Bits of XCR0 that must be set before instructions of a kind may be used. */
const stateOf = {
  general: 0,
  /** ymm registers: SSE and AVX state. */
  avx: 0x6,
  /** zmm and mask registers: with the two zmm states. */
  avx512: 0xe6,
  /** Tile configuration and data. */
  amx: 0x60000,
} as const;

type Row = readonly [state: keyof typeof stateOf, register: keyof CpuidRegisters, bit: number, name: string];

const features: readonly { readonly leaf: number; readonly subleaf: number; readonly rows: readonly Row[] }[] = [
  {
    leaf: 1,
    subleaf: 0,
    rows: [
      ['general', 'edx', 26, 'sse2'],
      ['general', 'ecx', 0, 'pni'],
      ['general', 'ecx', 1, 'pclmulqdq'],
      ['general', 'ecx', 9, 'ssse3'],
      ['avx', 'ecx', 12, 'fma'],
      ['general', 'ecx', 13, 'cx16'],
      ['general', 'ecx', 19, 'sse4_1'],
      ['general', 'ecx', 20, 'sse4_2'],
      ['general', 'ecx', 22, 'movbe'],
      ['general', 'ecx', 23, 'popcnt'],
      ['general', 'ecx', 25, 'aes'],
      ['avx', 'ecx', 28, 'avx'],
      ['avx', 'ecx', 29, 'f16c'],
      ['general', 'ecx', 31, 'hypervisor'],
    ],
  },
  {
    leaf: 7,
    subleaf: 0,
    rows: [
      ['general', 'ebx', 3, 'bmi1'],
      ['avx', 'ebx', 5, 'avx2'],
      ['general', 'ebx', 8, 'bmi2'],
      ['general', 'ebx', 9, 'erms'],
      ['avx512', 'ebx', 16, 'avx512f'],
      ['avx512', 'ebx', 17, 'avx512dq'],
      ['general', 'ebx', 19, 'adx'],
      ['avx512', 'ebx', 21, 'avx512ifma'],
      ['general', 'ebx', 24, 'clwb'],
      ['avx512', 'ebx', 28, 'avx512cd'],
      ['avx512', 'ebx', 30, 'avx512bw'],
      ['avx512', 'ebx', 31, 'avx512vl'],
      ['avx512', 'ecx', 1, 'avx512vbmi'],
      ['avx512', 'ecx', 6, 'avx512_vbmi2'],
      ['avx', 'ecx', 8, 'gfni'],
      ['avx', 'ecx', 9, 'vaes'],
      ['avx', 'ecx', 10, 'vpclmulqdq'],
      ['avx512', 'ecx', 11, 'avx512_vnni'],
      ['avx512', 'ecx', 12, 'avx512_bitalg'],
      ['avx512', 'ecx', 14, 'avx512_vpopcntdq'],
      ['general', 'edx', 4, 'fsrm'],
      ['avx512', 'edx', 8, 'avx512_vp2intersect'],
      ['amx', 'edx', 22, 'amx_bf16'],
      ['avx512', 'edx', 23, 'avx512_fp16'],
      ['amx', 'edx', 24, 'amx_tile'],
      ['amx', 'edx', 25, 'amx_int8'],
    ],
  },
  {
    leaf: 7,
    subleaf: 1,
    rows: [
      ['avx', 'eax', 4, 'avx_vnni'],
      ['avx512', 'eax', 5, 'avx512_bf16'],
      ['amx', 'eax', 21, 'amx_fp16'],
      ['avx', 'eax', 23, 'avx_ifma'],
    ],
  },
  {
    leaf: 0x80000001,
    subleaf: 0,
    rows: [
      ['general', 'ecx', 5, 'abm'],
      ['general', 'ecx', 6, 'sse4a'],
      ['general', 'ecx', 8, '3dnowprefetch'],
      ['general', 'edx', 26, 'pdpe1gb'],
      ['general', 'edx', 27, 'rdtscp'],
    ],
  },
];

/** Every name that `decodeFeatures` can give. */
export const featureNames: readonly string[] = features.flatMap(({ rows }) => rows.map(([, , , name]) => name));

export function decodeFeatures(source: CpuidSource): CpuFeatures {
  const highest = new Map([0, 0x80000000].map((base) => [base, source.cpuid(base, 0).eax >>> 0]));
  const read = (leaf: number, subleaf: number): CpuidRegisters => {
    const last = highest.get(leaf >= 0x80000000 ? 0x80000000 : 0) ?? 0;
    return leaf <= last ? source.cpuid(leaf, subleaf) : { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  };
  const osxsave = (read(1, 0).ecx & (1 << 27)) !== 0;
  const enabled = osxsave ? source.xgetbv() : 0;
  const names = new Set<string>();
  const withheld: string[] = [];
  for (const { leaf, subleaf, rows } of features) {
    // Leaf 7 says in eax of subleaf 0 how many subleaves follow.
    if (subleaf > 0 && read(leaf, 0).eax >>> 0 < subleaf) continue;
    const registers = read(leaf, subleaf);
    for (const [state, register, bit, name] of rows) {
      const has = ((registers[register] >>> bit) & 1) !== 0;
      if (!has) continue;
      if ((enabled & stateOf[state]) === stateOf[state]) names.add(name);
      else withheld.push(name);
    }
  }
  const tiles = names.has('amx_tile') ? decodeTiles(read) : undefined;
  return { model: modelName(read), names, withheld, ...(tiles === undefined ? {} : { tiles }) };
}

/** Palette 1 of leaf 0x1D. */
function decodeTiles(read: (leaf: number, subleaf: number) => CpuidRegisters): TileUnit | undefined {
  if (read(0x1d, 0).eax < 1) return undefined;
  const { ebx, ecx } = read(0x1d, 1);
  return { tiles: ebx >>> 16, bytesPerRow: ebx & 0xffff, rows: ecx & 0xffff };
}

/** Three leaves of 16 characters, ended by a zero. */
function modelName(read: (leaf: number, subleaf: number) => CpuidRegisters): string {
  const words = [0x80000002, 0x80000003, 0x80000004].flatMap((leaf) => {
    const { eax, ebx, ecx, edx } = read(leaf, 0);
    return [eax, ebx, ecx, edx];
  });
  const characters = new Uint8Array(Int32Array.from(words).buffer);
  return String.fromCharCode(...characters.filter((character) => character !== 0)).trim();
}
