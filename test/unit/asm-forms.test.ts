import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { CodeBytes, encode } from '../../src/devices/cpu/asm/encode.ts';
import { type Form, formText } from '../../src/devices/cpu/asm/forms.ts';
import { findForm, formsOf, mnemonics } from '../../src/devices/cpu/asm/match.ts';
import type { Label, Operand } from '../../src/devices/cpu/asm/operands.ts';
import { formatInstruction } from '../../src/devices/cpu/asm/print.ts';
import { assembleBySystem, Draw, drawOperands, hasBinutils, hex } from './asm-harness.ts';

interface Sample {
  readonly form: Form;
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** In the listing of a sample `rip+0` is the instruction's end, which is where this label stands. */
const END: Label = { kind: 'label', id: 0, name: '0' };

function sample(form: Form, operands: Operand[]): Sample {
  const bytes = new CodeBytes();
  const fix = encode(form, operands, bytes);
  const whole = new Uint8Array(bytes.length);
  bytes.copy(0, bytes.length, whole, 0);
  if (fix !== undefined) new DataView(whole.buffer).setInt32(fix.at, fix.addend, true);
  return { form, text: formatInstruction(form, operands), bytes: whole };
}

/** Samples of one form that the tables choose for their operands; registers that exclude each other are drawn again. */
function samplesOf(form: Form, draw: Draw, wanted: number): Sample[] {
  const found: Sample[] = [];
  for (let tries = 0; found.length < wanted && tries < wanted * 40; tries++) {
    const operands = drawOperands(draw, form, END);
    try {
      if (findForm(form.mnemonic as Parameters<typeof findForm>[0], operands) === form)
        found.push(sample(form, operands));
    } catch (error) {
      if (!isIngotError(error, 'InvalidArgument') || !/REX|distinct/.test(error.message)) throw error;
    }
  }
  return found;
}

/** Of xchg with the accumulator binutils takes the one-byte form, which for eax and eax would be a no-operation. */
const isOtherChoice = ({ form, text }: Sample) =>
  form.mnemonic === 'xchg' && /\b[er]?a[xl]$|^xchg [er]?a[xl]\b/.test(text);

const isJump = (form: Form) => form.slots.some((slot) => slot.rel !== undefined);
const forms = [...mnemonics()].flatMap(formsOf).filter((form) => !isJump(form));

test('every form is reachable: the tables have no row that an earlier one hides', () => {
  const draw = new Draw(1);
  const hidden = forms.filter((form) => samplesOf(form, draw, 1).length === 0).map(formText);
  assert.deepEqual(hidden, []);
});

test('every form has the bytes of the system assembler, over operands drawn at random', {
  skip: hasBinutils ? false : 'binutils (as, objcopy) are not installed: scripts/setup-tests.sh',
}, () => {
  const draw = new Draw(2);
  const samples = forms.flatMap((form) => samplesOf(form, draw, 8)).filter((one) => !isOtherChoice(one));
  assert.ok(samples.length > 15000, `${samples.length} samples`);
  // Every instruction starts at a multiple of 16: none is longer than 15 bytes.
  const theirs = assembleBySystem(samples.map(({ text }) => `${text}\n.balign 16, 0xcc`).join('\n'));
  const wrong = samples.flatMap(({ form, text, bytes }, index) => {
    const slot = theirs.subarray(index * 16, index * 16 + 16);
    const ours = new Uint8Array(16).fill(0xcc);
    ours.set(bytes);
    return hex(ours) === hex(slot) ? [] : [`${formText(form)}: ${text}\n  ours   ${hex(bytes)}\n  theirs ${hex(slot)}`];
  });
  assert.equal(wrong.length, 0, `${wrong.length} of ${samples.length} differ\n${wrong.slice(0, 60).join('\n')}`);
});
