import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { translate } from '../../src/devices/cpu/arm64/translate.ts';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import {
  absolute,
  ah,
  al,
  bl,
  broadcast,
  cl,
  eax,
  ebx,
  ecx,
  edx,
  gp,
  indexed,
  k,
  lanes,
  masked,
  type Operand,
  offset,
  ptr,
  r8b,
  r8d,
  r9,
  r9d,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  r16w,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rip,
  rounding,
  rsi,
  rsp,
  sized,
  tmm,
  xmm,
  ymm,
  zeroed,
  zmm,
} from '../../src/devices/cpu/asm/operands.ts';
import type { Mnemonic } from '../../src/devices/cpu/asm/tables.ts';
import { assembleBySystem, Draw, hasBinutils, hex } from './asm-harness.ts';

/** Instructions, their text, and the bytes that GNU binutils 2.40 makes of it. */
const GOLDEN: readonly (readonly [Mnemonic, readonly Operand[], string, string])[] = [
  ['mov', [rax, 1], 'mov rax, 0x1', '48 c7 c0 01 00 00 00'],
  ['mov', [eax, -1], 'mov eax, -0x1', 'b8 ff ff ff ff'],
  ['mov', [r9, 0x123456789abcdef0n], 'mov r9, 0x123456789abcdef0', '49 b9 f0 de bc 9a 78 56 34 12'],
  ['mov', [r8b(rsi), bl], 'mov sil, bl', '40 88 de'],
  ['mov', [r8b(14), r8b(6)], 'mov r14b, sil', '41 88 f6'],
  ['mov', [sized(ptr(r13), 32), 7], 'mov dword ptr [r13], 0x7', '41 c7 45 00 07 00 00 00'],
  ['movzx', [ecx, sized(ptr(rdx, 1), 8)], 'movzx ecx, byte ptr [rdx+0x1]', '0f b6 4a 01'],
  ['movsxd', [r10, sized(indexed(rbp, r12, 4), 32)], 'movsxd r10, dword ptr [rbp+r12*4]', '4e 63 54 a5 00'],
  ['lea', [rdi, indexed(undefined, rcx, 8, 0x40)], 'lea rdi, [rcx*8+0x40]', '48 8d 3c cd 40 00 00 00'],
  ['add', [rsp, 128], 'add rsp, 0x80', '48 81 c4 80 00 00 00'],
  ['add', [rsp, -128], 'add rsp, -0x80', '48 83 c4 80'],
  ['sub', [eax, 1000], 'sub eax, 0x3e8', '2d e8 03 00 00'],
  ['imul', [r14, r15, 100], 'imul r14, r15, 0x64', '4d 6b f7 64'],
  ['shl', [edx, 1], 'shl edx, 0x1', 'd1 e2'],
  ['sar', [r11, 5], 'sar r11, 0x5', '49 c1 fb 05'],
  ['shrx', [rax, ptr(rsi, 8), rcx], 'shrx rax, qword ptr [rsi+0x8], rcx', 'c4 e2 f3 f7 46 08'],
  ['cmp', [ptr(rsp), r8d], 'cmp dword ptr [rsp], r8d', '44 39 04 24'],
  ['cmovl', [ebx, r9d], 'cmovl ebx, r9d', '41 0f 4c d9'],
  ['setne', [r8b(rdi)], 'setne dil', '40 0f 95 c7'],
  ['popcnt', [rax, rbx], 'popcnt rax, rbx', 'f3 48 0f b8 c3'],
  ['lock xadd', [ptr(rdi), rax], 'lock xadd qword ptr [rdi], rax', 'f0 48 0f c1 07'],
  ['push', [r12], 'push r12', '41 54'],
  ['call', [rax], 'call rax', 'ff d0'],
  ['ret', [], 'ret', 'c3'],
  ['prefetcht0', [ptr(rsi, 256)], 'prefetcht0 byte ptr [rsi+0x100]', '0f 18 8e 00 01 00 00'],
  ['vzeroupper', [], 'vzeroupper', 'c5 f8 77'],
  ['vmovups', [ymm(0), ptr(rdi, 32)], 'vmovups ymm0, ymmword ptr [rdi+0x20]', 'c5 fc 10 47 20'],
  ['vmovups', [ymm(1), ymm(9)], 'vmovups ymm1, ymm9', 'c5 7c 11 c9'],
  [
    'vaddps',
    [ymm(3), ymm(12), indexed(rax, rcx, 4, -4)],
    'vaddps ymm3, ymm12, ymmword ptr [rax+rcx*4-0x4]',
    'c5 9c 58 5c 88 fc',
  ],
  ['vmulsd', [xmm(8), xmm(8), xmm(15)], 'vmulsd xmm8, xmm8, xmm15', 'c4 41 3b 59 c7'],
  ['vfmadd231ps', [ymm(15), ymm(0), ymm(1)], 'vfmadd231ps ymm15, ymm0, ymm1', 'c4 62 7d b8 f9'],
  ['vfnmadd213sd', [xmm(1), xmm(2), ptr(r12)], 'vfnmadd213sd xmm1, xmm2, qword ptr [r12]', 'c4 c2 e9 ad 0c 24'],
  ['vbroadcastss', [ymm(2), ptr(r13)], 'vbroadcastss ymm2, dword ptr [r13]', 'c4 c2 7d 18 55 00'],
  ['vblendvps', [ymm(1), ymm(2), ymm(3), ymm(4)], 'vblendvps ymm1, ymm2, ymm3, ymm4', 'c4 e3 6d 4a cb 40'],
  ['vcvtph2ps', [ymm(0), ptr(rax)], 'vcvtph2ps ymm0, xmmword ptr [rax]', 'c4 e2 7d 13 00'],
  ['vcvtps2ph', [ptr(rax), ymm(1), 0], 'vcvtps2ph xmmword ptr [rax], ymm1, 0x0', 'c4 e3 7d 1d 08 00'],
  ['vpmaddubsw', [ymm(4), ymm(5), ymm(6)], 'vpmaddubsw ymm4, ymm5, ymm6', 'c4 e2 55 04 e6'],
  ['vpsrld', [ymm(4), ymm(11), 16], 'vpsrld ymm4, ymm11, 0x10', 'c4 c1 5d 72 d3 10'],
  ['vpmovsxbd', [ymm(7), ptr(rdx)], 'vpmovsxbd ymm7, qword ptr [rdx]', 'c4 e2 7d 21 3a'],
  ['vpextrd', [edx, xmm(3), 2], 'vpextrd edx, xmm3, 0x2', 'c4 e3 79 16 da 02'],
  ['vgatherdps', [ymm(1), indexed(rax, ymm(2), 4), ymm(3)], 'vgatherdps ymm1, [rax+ymm2*4], ymm3', 'c4 e2 65 92 0c 90'],
  ['vcvttss2si', [rax, xmm(1)], 'vcvttss2si rax, xmm1', 'c4 e1 fa 2c c1'],
  ['{vex} vpdpbusd', [ymm(0), ymm(1), ymm(2)], '{vex} vpdpbusd ymm0, ymm1, ymm2', 'c4 e2 75 50 c2'],
  ['vpdpbusd', [zmm(0), zmm(17), ptr(rsi, 64)], 'vpdpbusd zmm0, zmm17, zmmword ptr [rsi+0x40]', '62 f2 75 40 50 46 01'],
  [
    'vpdpbusd',
    [zmm(31), zmm(8), broadcast(ptr(rsi, 4))],
    'vpdpbusd zmm31, zmm8, [rsi+0x4]{1to16}',
    '62 62 3d 58 50 7e 01',
  ],
  [
    'vaddps',
    [zeroed(zmm(1), k(2)), zmm(2), ptr(rax, 8192)],
    'vaddps zmm1{k2}{z}, zmm2, zmmword ptr [rax+0x2000]',
    '62 f1 6c ca 58 88 00 20 00 00',
  ],
  ['vdivpd', [zmm(1), zmm(2), zmm(3), rounding('rz-sae')], 'vdivpd zmm1, zmm2, zmm3, {rz-sae}', '62 f1 ed 78 5e cb'],
  [
    'vrndscaleps',
    [masked(zmm(1), k(1)), zmm(2), 8, rounding('sae')],
    'vrndscaleps zmm1{k1}, zmm2, {sae}, 0x8',
    '62 f3 7d 19 08 ca 08',
  ],
  ['vpternlogd', [ymm(16), ymm(1), ymm(2), 0xca], 'vpternlogd ymm16, ymm1, ymm2, 0xca', '62 e3 75 28 25 c2 ca'],
  [
    'vcmpps',
    [masked(k(3), k(1)), zmm(4), broadcast(ptr(rcx)), 1],
    'vcmpps k3{k1}, zmm4, [rcx]{1to16}, 0x1',
    '62 f1 5c 59 c2 19 01',
  ],
  ['vmovups', [masked(ptr(rdi, 64), k(1)), zmm(5)], 'vmovups zmmword ptr [rdi+0x40]{k1}, zmm5', '62 f1 7c 49 11 6f 01'],
  ['vpmovdb', [masked(ptr(rdi, 16), k(1)), zmm(5)], 'vpmovdb xmmword ptr [rdi+0x10]{k1}, zmm5', '62 f2 7e 49 31 6f 01'],
  [
    'vpcompressd',
    [masked(ptr(rdi, 4), k(1)), zmm(5)],
    'vpcompressd zmmword ptr [rdi+0x4]{k1}, zmm5',
    '62 f2 7d 49 8b 6f 01',
  ],
  [
    'vscatterdps',
    [masked(indexed(rax, zmm(30), 4, 4), k(6)), zmm(2)],
    'vscatterdps [rax+zmm30*4+0x4]{k6}, zmm2',
    '62 b2 7d 46 a2 54 b0 01',
  ],
  ['vcvtne2ps2bf16', [zmm(0), zmm(1), zmm(2)], 'vcvtne2ps2bf16 zmm0, zmm1, zmm2', '62 f2 77 48 72 c2'],
  ['vdpbf16ps', [zmm(16), zmm(17), zmm(18)], 'vdpbf16ps zmm16, zmm17, zmm18', '62 a2 76 40 52 c2'],
  ['kmovw', [k(1), eax], 'kmovw k1, eax', 'c5 f8 92 c8'],
  ['kortestw', [k(1), k(2)], 'kortestw k1, k2', 'c5 f8 98 ca'],
  ['ldtilecfg', [ptr(rdi)], 'ldtilecfg [rdi]', 'c4 e2 78 49 07'],
  ['tilezero', [tmm(3)], 'tilezero tmm3', 'c4 e2 7b 49 d8'],
  ['tileloadd', [tmm(0), indexed(rsi, rcx)], 'tileloadd tmm0, [rsi+rcx*1]', 'c4 e2 7b 4b 04 0e'],
  ['tileloaddt1', [tmm(1), ptr(rsi)], 'tileloaddt1 tmm1, [rsi]', 'c4 e2 79 4b 0c 26'],
  ['tilestored', [indexed(rdx, rcx, 1, 64), tmm(2)], 'tilestored [rdx+rcx*1+0x40], tmm2', 'c4 e2 7a 4b 54 0a 40'],
  ['tdpbusd', [tmm(0), tmm(1), tmm(2)], 'tdpbusd tmm0, tmm1, tmm2', 'c4 e2 69 5e c1'],
  ['tdpbf16ps', [tmm(5), tmm(6), tmm(7)], 'tdpbf16ps tmm5, tmm6, tmm7', 'c4 e2 42 5c ee'],
  ['tilerelease', [], 'tilerelease', 'c4 e2 78 49 c0'],
];

test('instructions have their bytes and their text', () => {
  for (const [mnemonic, operands, text, bytes] of GOLDEN) {
    const asm = new Assembler();
    asm.emit(mnemonic, ...operands);
    const code = asm.assemble();
    assert.equal(hex(code.bytes), bytes, text);
    assert.equal(code.lines()[0].text, text);
  }
});

test('names of registers say what they hold', () => {
  assert.equal(lanes(xmm(17), 512), zmm(17));
  assert.deepEqual([r16w(rax).bits, gp(rax, 32).bits, gp(r9d, 64).id, offset(ptr(rax, 8), 8).disp], [16, 32, 9, 16]);
  const asm = new Assembler();
  asm.emit('shl', al, cl);
  asm.emit('mov', eax, absolute(0x1000));
  assert.deepEqual(
    asm
      .assemble()
      .lines()
      .map(({ text }) => text),
    ['shl al, cl', 'mov eax, dword ptr ds:[0x1000]'],
  );
});

test('a jump is short to where 127 bytes reach and near beyond, forward and backward', () => {
  const jumpOver = (bytes: number) => {
    const asm = new Assembler();
    const end = asm.label();
    asm.emit('jne', end);
    for (let n = 0; n < bytes; n++) asm.emit('nop');
    asm.bind(end);
    return asm.assemble().bytes;
  };
  assert.deepEqual([...jumpOver(127).subarray(0, 2)], [0x75, 127]);
  assert.deepEqual([...jumpOver(128).subarray(0, 6)], [0x0f, 0x85, 128, 0, 0, 0]);
  const jumpBack = (bytes: number) => {
    const asm = new Assembler();
    const start = asm.here();
    for (let n = 0; n < bytes; n++) asm.emit('nop');
    asm.emit('jmp', start);
    return asm.assemble().bytes.subarray(bytes);
  };
  assert.equal(hex(jumpBack(126)), 'eb 80');
  assert.equal(hex(jumpBack(127)), 'e9 7c ff ff ff');
});

test('a jump that grows pushes others out of reach', () => {
  const asm = new Assembler();
  const [one, two] = [asm.label(), asm.label()];
  asm.emit('jmp', one); // 127 bytes to `one` while the next jump is short
  asm.emit('jmp', two);
  for (let n = 0; n < 125; n++) asm.emit('nop');
  asm.bind(one);
  for (let n = 0; n < 10; n++) asm.emit('nop');
  asm.bind(two);
  assert.deepEqual([asm.assemble().bytes[0], asm.assemble().bytes[5]], [0xe9, 0xe9]);
});

test('labels, jumps, alignment and constants lie where the system assembler puts them', {
  skip: hasBinutils ? false : 'binutils (as, objcopy) are not installed: scripts/setup-tests.sh',
}, () => {
  for (let seed = 0; seed < 6; seed++) {
    const draw = new Draw(100 + seed);
    const asm = new Assembler();
    const source: string[] = [];
    const labels = Array.from({ length: 40 }, (_, index) => asm.label(`L${index}`));
    const unbound = [...labels];
    for (let step = 0; step < 600 || unbound.length > 0; step++) {
      const target = draw.of(labels);
      const kind = draw.below(12);
      if (kind < 3 && unbound.length > 0) {
        const [label] = unbound.splice(draw.below(unbound.length), 1);
        asm.bind(label);
        source.push(`${label.name}:`);
      } else if (kind < 7) {
        const mnemonic = draw.of(['jmp', 'je', 'jg', 'jb', 'call'] as const);
        asm.emit(mnemonic, target);
        source.push(`${mnemonic} ${target.name}`);
      } else if (kind === 7) {
        asm.emit('lea', rax, rip(target, 16));
        source.push(`lea rax, [rip+${target.name}+16]`);
      } else if (kind === 8) {
        asm.align(16);
        source.push('.balign 16');
      } else {
        asm.emit('vaddps', ymm(1), ymm(2), ptr(rsp, 0x1000));
        source.push('vaddps ymm1, ymm2, [rsp+0x1000]');
      }
    }
    const constant = asm.constant(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    asm.emit('vmovups', ymm(3), rip(constant, 4));
    source.push('vmovups ymm3, [rip+C+4]', '.balign 32, 0', 'C: .float 1, 2, 3, 4, 5, 6, 7, 8');
    const code = asm.assemble();
    const theirs = assembleBySystem(source.join('\n'));
    assert.equal(code.bytes.length, theirs.length);
    // Which no-operations fill a gap is a matter of taste.
    for (const { kind, offset: start, bytes } of code.lines()) {
      if (kind === 'padding') theirs.set(bytes, start);
    }
    assert.equal(hex(code.bytes), hex(theirs));
  }
});

test('padding is made of no-operations', () => {
  for (let before = 0; before <= 16; before++) {
    const asm = new Assembler();
    for (let n = 0; n < before; n++) asm.emit('ud2');
    asm.align(32);
    const aligned = asm.here();
    asm.emit('ret');
    const code = asm.assemble();
    assert.equal(code.offsetOf(aligned), before === 0 ? 0 : 32);
    const gap = hex(code.bytes.subarray(2 * before, code.offsetOf(aligned)));
    assert.match(gap, /^(66 )?((66 )*(90|0f 1f ([08]0|40 00|44 00 00|80( 00){4}|84( 00){5}))( |$))*$/);
    assert.equal(code.alignment, 32);
  }
});

test('equal constants are kept once, each at its alignment', () => {
  const asm = new Assembler();
  const small = asm.constant(Float32Array.of(1));
  const wide = asm.constant(new Float32Array(16).fill(2));
  assert.equal(asm.constant(Float32Array.of(1)), small);
  assert.notEqual(asm.constant(Int32Array.of(1)), small);
  assert.notEqual(asm.constant(Float32Array.of(1), 64), small);
  asm.emit('vmovss', xmm(0), rip(small));
  const code = asm.assemble();
  assert.deepEqual([code.offsetOf(wide) % 64, code.offsetOf(small) % 4, code.alignment], [0, 0, 64]);
  const view = new DataView(code.bytes.buffer);
  assert.equal(view.getFloat32(code.offsetOf(small), true), 1);
  assert.equal(view.getInt32(4, true), code.offsetOf(small) - 8);
});

test('the listing shows offset, bytes, text, labels and comments', () => {
  const asm = new Assembler();
  asm.comment('for k of 64');
  const loop = asm.here('loop');
  asm.emit('vaddps', ymm(0), ymm(0), rip(asm.constant(new Float32Array(8))));
  asm.emit('jne', loop);
  assert.equal(
    asm.assemble().listing(),
    `# for k of 64
loop:
     0  c5 fc 58 05 18 00 00 00          vaddps ymm0, ymm0, ymmword ptr [rip+.C0]
     8  75 f6                            jne loop
    20  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 .C0: 32 bytes`,
  );
});

test('what cannot be encoded is refused, with the forms that can', () => {
  const refused = (run: (asm: Assembler) => void, message: RegExp, hint = /./) => {
    assert.throws(
      () => run(new Assembler()),
      (error) => {
        assert.ok(isIngotError(error, 'InvalidArgument'), String(error));
        assert.match(error.message, message);
        assert.match(`${error.message} ${error.hint}`, hint);
        return true;
      },
    );
  };
  refused(
    (asm) => asm.emit('vaddps', ymm(1), xmm(2), ymm(3)),
    /vaddps ymm1, xmm2, ymm3: there is no such form/,
    /vaddps ymm, ymm, ymm\/m256/,
  );
  refused((asm) => asm.emit('vpermps', xmm(1), xmm(2), xmm(3)), /no such form/);
  refused((asm) => asm.emit('vhaddps', ymm(1), ymm(2), ymm(16)), /no such form/);
  refused((asm) => asm.emit('ret', rax), /no such form/, /the forms are ret/);
  refused((asm) => asm.emit('add', rax, 2 ** 31), /out of range/, /add r64\/m64, simm32/);
  refused((asm) => asm.emit('mov', rax, 2n ** 64n), /out of range/);
  refused((asm) => asm.emit('add', eax, 1.5), /out of range/);
  refused((asm) => asm.emit('vpsrld', ymm(1), ymm(1), 256), /out of range/);
  refused((asm) => asm.emit('mov', ah, r8b(rsi)), /REX/);
  refused((asm) => asm.emit('movzx', r9d, ah), /REX/);
  refused((asm) => asm.emit('inc', ptr(rax)), /how wide/, /inc r8\/m8, or inc r16\/m16/);
  refused((asm) => asm.emit('vcvtpd2ps', xmm(0), ptr(rax)), /how wide/);
  refused((asm) => asm.emit('vfpclassps', k(1), broadcast(ptr(rax)), 1), /how wide/);
  refused((asm) => asm.emit('mov', rax, indexed(rax, rsp)), /rsp cannot be an index/);
  refused((asm) => asm.emit('mov', rax, ptr(ecx)), /64-bit/);
  refused((asm) => asm.emit('mov', rax, ptr(rcx, 2 ** 31)), /displacement/);
  refused((asm) => asm.emit('vaddps', masked(zmm(0), k(0)), zmm(0), zmm(0)), /no such form/);
  refused((asm) => asm.emit('vmovups', zmm(0), masked(zmm(0), k(1))), /no such form/);
  refused((asm) => asm.emit('vpgatherdd', zmm(0), indexed(rax, zmm(1))), /no such form/);
  refused((asm) => asm.emit('vpgatherdd', ymm(0), indexed(rax, ymm(0)), ymm(2)), /distinct/);
  refused((asm) => asm.emit('tdpbssd', tmm(0), tmm(1), tmm(1)), /distinct/);
  refused((asm) => asm.emit('vaddps', ymm(0), ymm(0), ymm(1), rounding('rn-sae')), /no such form/);
  refused((asm) => asm.emit('tileloadd', tmm(0), rip(asm.label())), /no such form/);
  // @ts-expect-error: no instruction has this name
  refused((asm) => asm.emit('vaddqs', xmm(0)), /no instruction is called vaddqs/);
  refused(() => zmm(32), /no register zmm32/);
});

test('a label is bound once, by its own assembler, before the code is made', () => {
  const asm = new Assembler();
  const label = asm.label('end');
  asm.emit('jmp', label);
  const refused = (run: () => unknown, message: RegExp) =>
    assert.throws(run, (error) => isIngotError(error, 'InvalidArgument') && message.test(error.message));
  refused(() => asm.assemble(), /end is used but never bound/);
  asm.bind(label);
  refused(() => asm.bind(label), /end is bound twice/);
  refused(() => new Assembler().emit('jmp', label), /another assembler/);
  refused(() => new Assembler().emit('lea', rax, rip(label)), /another assembler/);
  refused(() => asm.align(3), /power of two/);
});

test('what another architecture has is no instruction here, and nothing without its extension there', () => {
  const a = new Assembler();
  a.emitForeign('smmla', ymm(0), ymm(1), ymm(2));
  a.emit('ret');
  const code = a.assemble();
  assert.deepEqual([...code.bytes], [0x0f, 0x0b, 0xc3]);
  assert.match(code.listing(), /0f 0b .* smmla ymm0, ymm1, ymm2/);
  const there = (i8mm: boolean) => translate(a, { extensions: { dotprod: true, i8mm, bf16: i8mm } }).listing();
  assert.match(there(true), /smmla v0\.4s, v1\.16b, v2\.16b/);
  assert.throws(
    () => there(false),
    (error) => isIngotError(error, 'UnsupportedOp'),
  );
});

test('code that includes a function is what it would be with the function written there', () => {
  const write = (a: Assembler) => {
    const [again, far] = [a.label(), a.label()];
    a.emit('mov', rcx, 3);
    a.bind(again);
    a.emit('vmovaps', ymm(1), rip(a.constant(new Float32Array(8).fill(2))));
    a.emit('vaddps', ymm(0), ymm(0), ymm(1));
    for (let i = 0; i < 40; i++) a.emit('vmulps', ymm(0), ymm(0), ymm(1));
    a.emit('cmp', rax, rcx);
    a.emit('je', far);
    a.emit('dec', rcx);
    a.emit('jne', again);
    a.bind(far);
  };
  const [inner, outer, whole] = [new Assembler(), new Assembler(), new Assembler()];
  write(inner);
  inner.emit('ret');
  for (const a of [outer, whole]) {
    a.emit('vmovaps', ymm(2), rip(a.constant(new Float32Array(8).fill(2))));
    if (a === outer) {
      a.include(inner);
      a.include(inner);
    } else {
      write(a);
      write(a);
    }
    a.emit('ret');
  }
  assert.deepEqual(outer.assemble().bytes, whole.assemble().bytes);
  const early = new Assembler();
  early.emit('ret');
  early.emit('dec', rcx);
  assert.throws(
    () => outer.include(early),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
});
