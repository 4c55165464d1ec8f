/** Every instruction form of the arm64 tables against the GNU assembler, over operands drawn at random. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { Arm64Assembler } from '../../src/devices/cpu/asm/arm64/assembler.ts';
import {
  encode,
  encodeAs,
  type Form,
  formsOf,
  instructionText,
  type Mnemonic,
  mnemonics,
} from '../../src/devices/cpu/asm/arm64/forms.ts';
import {
  CONDITIONS,
  elementBits,
  general,
  indexedPlace,
  type Operand,
  place,
  type Shape,
  sp,
  tableOf,
  v,
  when,
  x,
} from '../../src/devices/cpu/asm/arm64/operands.ts';
import { Draw, hex } from './asm-harness.ts';

const assembler = 'aarch64-linux-gnu-as';
const hasAssembler = spawnSync(assembler, ['--version']).status === 0;
const skip = hasAssembler ? false : `skipped, because ${assembler} is not installed: scripts/setup-tests.sh`;

/** The bytes that the GNU assembler makes of a source. */
function assembleBySystem(source: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-asm-'));
  try {
    writeFileSync(join(folder, 'a.s'), `.arch armv8.6-a\n.text\n${source}\n`);
    const run = (command: string, words: string[]) => {
      const { status, stderr } = spawnSync(command, words, { cwd: folder, encoding: 'utf8' });
      if (status !== 0)
        throw new Error(
          `${command}: ${stderr
            .split('\n')
            .slice(0, 60)
            .map((line) => `${line}   <- ${source.split('\n')[Number(/a\.s:(\d+):/.exec(line)?.[1]) - 3]}`)
            .join('\n')}`,
        );
    };
    run(assembler, ['-o', 'a.o', 'a.s']);
    run('aarch64-linux-gnu-objcopy', ['-O', 'binary', '-j', '.text', 'a.o', 'a.bin']);
    return new Uint8Array(readFileSync(join(folder, 'a.bin')));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs of ones, rotated and repeated. */
function drawMask(draw: Draw, width: number): bigint {
  const size = draw.of([2, 4, 8, 16, 32, 64].filter((bits) => bits <= width));
  const ones = (1n << BigInt(1 + draw.below(size - 1))) - 1n;
  const by = BigInt(draw.below(size));
  const element = BigInt.asUintN(size, (ones << by) | (ones >> (BigInt(size) - by)));
  let whole = 0n;
  for (let at = 0; at < width; at += size) whole |= element << BigInt(at);
  return whole;
}

function drawOperand(draw: Draw, slot: string, { shapes }: Form, width: 32 | 64): Operand | undefined {
  const [first, second = first] = shapes;
  const base = draw.chance(6) ? sp : x(draw.below(31));
  const [kind, unitText] = slot.split('*');
  const unit = Number(unitText ?? 1);
  if (/^[RXW][a-z]\^?$/.test(slot)) {
    const id = draw.below(32);
    const bits = slot[0] === 'R' ? width : slot[0] === 'X' ? 64 : 32;
    return { ...general(id, bits), sp: id === 31 && slot.endsWith('^') };
  }
  if (slot[0] === 'L') return tableOf(draw.below(32), 1 + draw.below(4));
  if (/^[VBHSDQ][a-z]/.test(slot)) {
    const shape =
      slot[0] !== 'V' ? (slot[0]?.toLowerCase() as Shape) : slot.endsWith('.2') || slot.endsWith(']') ? second : first;
    const register = v(draw.below(32), shape as Shape);
    if (!slot.endsWith('[]')) return register;
    return { ...register, lane: draw.below(128 / elementBits(register.shape)) };
  }
  switch (kind) {
    case '[Xn]':
      return place(base);
    case 'shift':
      if (draw.chance(3)) return undefined;
      return { kind: 'shift', op: draw.of(['lsl', 'lsr', 'asr'] as const), amount: 1 + draw.below(width - 1) };
    case 'cond':
      return when(draw.of(CONDITIONS));
    case 'lsl16':
      return draw.chance(3) ? undefined : { kind: 'shift', op: 'lsl', amount: 16 * draw.below(width / 16) };
    case 'bits':
      return drawMask(draw, width);
    case 'u12':
      return draw.chance(2) ? draw.below(4096) : 4096 * (1 + draw.below(4095));
    case 'r6':
    case 's6':
      return draw.below(width);
    case 'zero':
      return 0;
    case 'bit':
      return draw.below(32);
    case 'left':
      return draw.below(elementBits(second as Shape));
    case 'right':
      return 1 + draw.below(elementBits(second as Shape));
    case 'u4':
      return draw.below(16);
    case 'u8':
      return draw.below(256);
    case 'u16':
      return draw.below(65536);
    case 'at':
      return place(base, unit * draw.below(4096));
    case 'near':
      return place(base, draw.below(512) - 256);
    case 'pre':
    case 'post':
      return place(base, draw.below(512) - 256, kind);
    case 'index':
      return indexedPlace(base, x(draw.below(31)), draw.chance(2) ? Math.log2(unit) : 0);
    case 'off':
      return place(base, unit * (draw.below(128) - 64));
    default:
      throw new Error(`no operand is called ${slot}`);
  }
}

test('every form has the bytes of the system assembler, over operands drawn at random', { skip }, () => {
  const draw = new Draw(3);
  const samples: { readonly text: string; readonly word: number }[] = [];
  for (const mnemonic of mnemonics() as Iterable<Mnemonic>) {
    for (const form of formsOf(mnemonic)) {
      if (form.slots.some((slot) => slot.startsWith('rel'))) continue;
      for (let i = 0; i < 8; i++) {
        const width = draw.of([32, 64] as const);
        const operands = form.slots.flatMap((slot) => drawOperand(draw, slot, form, width) ?? []);
        const encoded = encodeAs(form, operands);
        assert.ok(encoded, `${form.mnemonic} ${form.slots} ${form.shapes}: ${instructionText(mnemonic, operands)}`);
        // Exclusive stores may not name one register twice.
        if (
          /^stlxr/.test(mnemonic) &&
          new Set([...instructionText('', operands).matchAll(/\d+/g)].map(String)).size < 3
        )
          continue;
        if (/^(ldp|ldr|str)/.test(mnemonic) && isUnpredictable(operands)) continue;
        samples.push({ text: instructionText(mnemonic, operands), word: encode(mnemonic, operands).word });
      }
    }
  }
  assert.ok(samples.length > 2500, `${samples.length} samples`);
  const theirs = assembleBySystem(samples.map(({ text }) => text).join('\n'));
  assert.equal(theirs.length, 4 * samples.length);
  const view = new DataView(theirs.buffer);
  const wrong = samples.flatMap(({ text, word }, index) => {
    const other = view.getUint32(4 * index, true);
    return word === other ? [] : [`${text}: ours ${word.toString(16)}, theirs ${other.toString(16)}`];
  });
  assert.equal(wrong.length, 0, `${wrong.length} of ${samples.length} differ\n${wrong.slice(0, 40).join('\n')}`);
});

/** A pair that loads one register twice, or a changed base that is loaded too. */
function isUnpredictable(operands: readonly Operand[]): boolean {
  const ids = operands.flatMap((one) => (typeof one === 'object' && 'id' in one ? [one.id] : []));
  const changed = operands.flatMap((one) =>
    typeof one === 'object' && one.kind === 'place' && one.mode !== 'offset' ? [one.base.id] : [],
  );
  return new Set([...ids, ...changed]).size < ids.length + changed.length;
}

test('labels, jumps, alignment and constants lie where the system assembler puts them', { skip }, () => {
  for (let seed = 0; seed < 4; seed++) {
    const draw = new Draw(100 + seed);
    const asm = new Arm64Assembler();
    const source: string[] = [];
    const labels = Array.from({ length: 20 }, (_, index) => asm.label(`L${index}`));
    const unbound = [...labels];
    for (let step = 0; step < 300 || unbound.length > 0; step++) {
      const target = draw.of(labels);
      const kind = draw.below(8);
      if (kind < 2 && unbound.length > 0) {
        const [label] = unbound.splice(draw.below(unbound.length), 1);
        if (label === undefined) continue;
        asm.bind(label);
        source.push(`${label.name}:`);
      } else if (kind < 5) {
        const mnemonic = draw.of(['b', 'bl', 'b.eq', 'b.le', 'cbz', 'adr', 'tbz'] as const);
        const before: Operand[] = mnemonic === 'tbz' ? [general(3, 32), 7] : mnemonic.startsWith('b') ? [] : [x(3)];
        const operands = [...before, target];
        asm.emit(mnemonic, ...operands);
        source.push(instructionText(mnemonic, operands));
      } else if (kind === 5) {
        asm.align(16);
        source.push('.balign 16');
      } else {
        asm.emit('ldr', v(7, 'q'), target);
        source.push(`ldr q7, ${target.name}`);
      }
    }
    const constant = asm.constant(new Uint8Array(16).fill(9), 16);
    asm.emit('ldr', v(1, 'q'), constant);
    source.push('ldr q1, data', '.balign 16, 0', 'data: .fill 16, 1, 9');
    assert.equal(hex(asm.assemble().bytes), hex(assembleBySystem(source.join('\n'))));
  }
});

test('what cannot be encoded is refused', () => {
  const asm = new Arm64Assembler();
  const refused = (emit: () => void) => assert.throws(emit, (error) => isIngotError(error, 'InvalidArgument'));
  refused(() => asm.emit('add', x(1), general(2, 32), x(3)));
  refused(() => asm.emit('and', x(1), x(2), 5));
  refused(() => asm.emit('ldr', x(1), place(x(2), 4 * 4096 * 8)));
  asm.emit('b', asm.label());
  refused(() => asm.assemble());
});
