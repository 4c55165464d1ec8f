/** General registers and branches of x86-64 as arm64 instructions: a row a mnemonic, or a family of them. */
import type { Mnemonic } from '../asm/arm64/forms.ts';
import { asr, type General, general, lsl, lsr, place, sp, v, when, x } from '../asm/arm64/operands.ts';
import { type Gp, isGp, isMem, type Mem, type Operand } from '../asm/operands.ts';
import { type Context, conditionOf, type Flags, unsupported } from './context.ts';

export interface Source {
  readonly mnemonic: string;
  readonly operands: readonly Operand[];
  /** Whether what follows looks at the flags that this instruction leaves. */
  readonly flagsUsed: boolean;
}

const isNumber = (operand: Operand | undefined): operand is number | bigint =>
  typeof operand === 'number' || typeof operand === 'bigint';

const width = (bits: number) => (bits === 64 ? 64 : 32);

/** Two operands to one: plain, and setting flags; `flags` says what those are then. */
interface Arithmetic {
  readonly plain: 'add' | 'sub' | 'and' | 'orr' | 'eor';
  readonly setting?: 'adds' | 'subs' | 'ands';
  readonly flags: Flags;
}
const ARITHMETIC: Readonly<Record<string, Arithmetic>> = {
  add: { plain: 'add', setting: 'adds', flags: 'add' },
  sub: { plain: 'sub', setting: 'subs', flags: 'compare' },
  and: { plain: 'and', setting: 'ands', flags: 'logic' },
  or: { plain: 'orr', flags: 'logic' },
  xor: { plain: 'eor', flags: 'logic' },
};
const SHIFTS: Readonly<Record<string, 'lslv' | 'lsrv' | 'asrv'>> = {
  ...{ shl: 'lslv', shr: 'lsrv', sar: 'asrv', shlx: 'lslv', shrx: 'lsrv', sarx: 'asrv' },
};

/** Bits of an operand: of a register, or of memory, which its form says. */
const bitsOf = (operand: Gp | Mem, other?: Operand) =>
  operand.kind === 'gp' ? operand.bits : operand.bits || (isGp(other) ? other.bits : 64);

/** A source operand of general registers. */
function read(t: Context, operand: Operand | undefined, bits: number): General {
  if (isNumber(operand)) return t.number(BigInt.asUintN(width(bits), BigInt(operand)), width(bits));
  if (isGp(operand)) return t.gp(operand, width(bits));
  if (!isMem(operand)) throw unsupported(`${typeof operand === 'object' ? operand.kind : 'nothing'} as a number`);
  const value = t.temporary(width(bits));
  t.loadGeneral(value, operand, bits);
  return value;
}

const zero = (bits: 32 | 64) => general(31, bits);

/** to = a op b, where b may be an immediate. */
function arithmetic(t: Context, row: Arithmetic, to: General, a: General, b: Operand, flags: boolean): void {
  const name = flags && row.setting !== undefined ? row.setting : row.plain;
  const isSum = row.plain === 'add' || row.plain === 'sub';
  if (isNumber(b)) {
    const value = Number(BigInt.asIntN(to.bits, BigInt(b)));
    if (isSum && Math.abs(value) < 4096) {
      const opposite = { add: 'sub', sub: 'add', adds: 'subs', subs: 'adds' } as const;
      const own = name as keyof typeof opposite;
      t.emit(value < 0 ? opposite[own] : own, to, a, Math.abs(value));
      return;
    }
    const other = t.number(b, to.bits);
    t.emit(name, to, a, other);
    return;
  }
  t.emit(name, to, a, read(t, b, to.bits));
}

function testResult(t: Context, result: General): void {
  t.emit('ands', zero(result.bits), result, result);
  t.flags = 'logic';
}

/** `locked`: what a word becomes, from what it holds and by other registers. The word is left in `before`. */
function exchange(t: Context, mem: Mem, bits: 32 | 64, change: (before: General) => General): General {
  const address = t.address(mem);
  const before = t.temporary(bits);
  const failed = t.temporary(32);
  const again = t.a.here();
  t.emit('ldaxr', before, place(address));
  const after = change(before);
  t.emit('stlxr', failed, after, place(address));
  t.emit('cbnz', failed, again);
  t.emit('dmb ish');
  return before;
}

/** A call by the convention of x86-64: arguments are where they belong already. */
function call(t: Context, target: Operand | undefined): void {
  t.emit('blr', read(t, target, 64));
  t.move(x(6), x(0));
}

/** Runs of ones of a mask, from below: first bit and length. */
function runsOf(mask: bigint): { at: number; length: number }[] {
  const runs: { at: number; length: number }[] = [];
  for (let at = 0; at < 64; at++) {
    if (((mask >> BigInt(at)) & 1n) === 0n) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.at + last.length === at) last.length++;
    else runs.push({ at, length: 1 });
  }
  return runs;
}

/** PDEP and PEXT with a mask that is known: a move of a field for each of its runs. */
function fields(t: Context, scatter: boolean, [to, from, by]: readonly Gp[]): void {
  if (to === undefined || from === undefined || by === undefined) throw unsupported('so few operands');
  const mask = t.known.get(by.id);
  if (mask === undefined) throw unsupported('pdep and pext by a mask that is not a constant before them');
  const result = t.temporary(width(to.bits));
  const source = t.gp(from);
  t.load(result, 0);
  let taken = 0;
  for (const { at, length } of runsOf(BigInt.asUintN(to.bits, mask))) {
    const part = t.temporary(result.bits);
    const [low, high] = scatter ? [taken, at] : [at, taken];
    t.emit('ubfm', part, source, low, low + length - 1);
    t.emit('orr', result, result, part, lsl(high));
    taken += length;
    // One register does for all parts.
    t.give();
  }
  t.move(t.gp(to), result);
}

/** Copies or fills rcx bytes at rdi, from rsi where `from`; al is what is filled in. */
function moveBytes(t: Context, from: boolean): void {
  const [to, source, count] = [x(0), x(1), x(3)];
  const [sixteen, one, end] = [t.a.label(), t.a.label(), t.a.label()];
  const [first, second] = [t.temporary(), t.temporary()];
  const rest = t.temporary();
  if (!from) {
    t.emit('and', general(first.id, 32), general(6, 32), 0xff);
    for (const bits of [8, 16, 32]) t.emit('orr', first, first, first, lsl(bits));
    t.move(second, first);
  }
  t.bind(sixteen);
  t.emit('ubfm', rest, count, 4, 63);
  t.emit('cbz', rest, one);
  if (from) {
    t.emit('ldp', first, second, place(source));
    t.emit('add', source, source, 16);
  }
  t.emit('stp', first, second, place(to));
  t.emit('add', to, to, 16);
  t.emit('sub', count, count, 16);
  t.emit('b', sixteen);
  t.bind(one);
  t.emit('cbz', count, end);
  if (from) {
    t.emit('ldrb', general(first.id, 32), place(source));
    t.emit('add', source, source, 1);
  }
  t.emit('strb', general(first.id, 32), place(to));
  t.emit('add', to, to, 1);
  t.emit('sub', count, count, 1);
  t.emit('b', one);
  t.bind(end);
}

/** What is not in any family. */
const ROWS: Readonly<Record<string, (t: Context, operands: readonly Operand[], source: Source) => void>> = {
  mov(t, [to, from]) {
    if (isMem(to)) {
      const bits = bitsOf(to, from);
      const value = isNumber(from) && BigInt(from) === 0n ? zero(width(bits)) : read(t, from, bits);
      t.storeGeneral(value, to, bits);
      return;
    }
    if (!isGp(to)) throw unsupported('mov of this kind');
    if (t.gp(to).sp) {
      t.move(sp, read(t, from, 64));
      t.stackAligned = false;
    } else if (to.bits < 32) {
      const value = read(t, from, to.bits);
      t.emit('bfm', t.gp(to, 64), general(value.id, 64), 0, to.bits - 1);
    } else if (isNumber(from)) {
      t.load(t.gp(to), from);
      t.known.set(to.id, BigInt.asUintN(to.bits, BigInt(from)));
    } else if (isMem(from)) t.loadGeneral(t.gp(to), from, to.bits);
    else if (isGp(from)) t.move(t.gp(to), t.gp(from));
    else throw unsupported('symbols');
  },
  movzx: (t, [to, from]) => extend(t, to, from, false),
  movsx: (t, [to, from]) => extend(t, to, from, true),
  movsxd: (t, [to, from]) => extend(t, to, isMem(from) ? { ...from, bits: 32 } : from, true),
  lea(t, [to, from]) {
    if (!isGp(to) || !isMem(from)) throw unsupported('lea of this kind');
    const address = t.address(from);
    t.move(t.gp(to), general(address.id, width(to.bits)));
  },
  imul(t, [to, a, b]) {
    if (!isGp(to) || a === undefined) throw unsupported('imul of one operand');
    const own = t.gp(to);
    const [left, right] = b === undefined ? [to, a] : [a, b];
    t.emit('madd', own, read(t, left, to.bits), read(t, right, to.bits), zero(own.bits));
  },
  neg(t, [to], { flagsUsed }) {
    if (!isGp(to)) throw unsupported('neg of memory');
    const own = t.gp(to);
    t.emit(flagsUsed ? 'subs' : 'sub', own, zero(own.bits), own);
    t.flags = 'compare';
  },
  not(t, [to]) {
    if (!isGp(to)) throw unsupported('not of memory');
    const own = t.gp(to);
    t.emit('orn', own, zero(own.bits), own);
  },
  cmp(t, [a, b]) {
    if (!isGp(a) && !isMem(a)) throw unsupported('cmp of this kind');
    const bits = bitsOf(a, b);
    t.flags = 'compare';
    if (bits >= 32) {
      const row = ARITHMETIC.sub as Arithmetic;
      const left = read(t, a, bits);
      arithmetic(t, row, zero(width(bits)), left, b as Operand, true);
      return;
    }
    // Extended with the sign on both sides: signed and unsigned order are kept.
    const narrow = (operand: Operand | undefined): General => {
      if (isNumber(operand)) return t.number(BigInt.asUintN(32, BigInt.asIntN(bits, BigInt(operand))), 32);
      const value = t.temporary(32);
      if (isMem(operand)) t.loadGeneral(value, operand, bits, true);
      else if (isGp(operand)) t.emit('sbfm', value, t.gp(operand), 0, bits - 1);
      return value;
    };
    t.emit('subs', zero(32), narrow(a), narrow(b));
    t.flags = 'narrow';
  },
  test(t, [a, b]) {
    if (!isGp(a) || a.bits < 32) throw unsupported('test of this kind');
    t.emit('ands', zero(width(a.bits)), t.gp(a), read(t, b, a.bits));
    t.flags = 'logic';
  },
  push(t, [from]) {
    const value = read(t, from, 64);
    const address = t.temporary();
    t.emit('sub', sp, sp, 8);
    t.move(address, sp);
    t.emit('str', value, place(address));
    t.stackAligned = false;
  },
  pop(t, [to]) {
    if (!isGp(to)) throw unsupported('pop of memory');
    const address = t.temporary();
    t.move(address, sp);
    t.emit('ldr', t.gp(to), place(address));
    t.emit('add', sp, sp, 8);
    t.stackAligned = false;
  },
  call: (t, [target]) => call(t, target),
  // The high half of the dividend is what the code before has made of the low half: 0, or its sign.
  div: (t, [by], _) => divide(t, by, 'udiv'),
  idiv: (t, [by]) => divide(t, by, 'sdiv'),
  cqo: (t) => t.emit('orr', x(2), x(31), x(6), asr(63)),
  bsf(t, [to, from]) {
    if (!isGp(to)) throw unsupported('bsf of this kind');
    const value = read(t, from, to.bits);
    testResult(t, value);
    const turned = t.temporary(value.bits);
    t.emit('rbit', turned, value);
    t.emit('clz', t.gp(to), turned);
  },
  lzcnt(t, [to, from]) {
    if (!isGp(to)) throw unsupported('lzcnt of this kind');
    t.emit('clz', t.gp(to), read(t, from, to.bits));
  },
  popcnt(t, [to, from]) {
    if (!isGp(to) || to.bits !== 64) throw unsupported('popcnt of this kind');
    const bytes = t.vector();
    t.emit('fmov', v(bytes, 'd'), read(t, from, 64));
    t.emit('cnt', v(bytes, '8b'), v(bytes, '8b'));
    t.emit('addv', v(bytes, 'b'), v(bytes, '8b'));
    t.emit('fmov', general(t.gp(to).id, 32), v(bytes, 's'));
  },
  pdep: (t, operands) => fields(t, true, operands.filter(isGp)),
  pext: (t, operands) => fields(t, false, operands.filter(isGp)),
  xchg(t, [a, b]) {
    if (!isGp(b)) throw unsupported('xchg of this kind');
    const own = t.gp(b);
    if (isGp(a)) {
      const other = t.gp(a);
      const value = t.temporary(own.bits);
      t.move(value, own);
      t.move(own, other);
      t.move(other, value);
    } else if (isMem(a))
      t.move(
        own,
        exchange(t, a, own.bits, () => own),
      );
  },
  'lock xadd'(t, [mem, by]) {
    if (!isMem(mem) || !isGp(by)) throw unsupported('xadd of this kind');
    const own = t.gp(by);
    const sum = t.temporary(own.bits);
    const before = exchange(t, mem, own.bits, (value) => {
      t.emit('add', sum, value, own);
      return sum;
    });
    t.move(own, before);
  },
  'lock inc': (t, [mem]) => count(t, mem, 'add'),
  'lock dec': (t, [mem]) => count(t, mem, 'sub'),
  'lock cmpxchg'(t, [mem, by]) {
    if (!isMem(mem) || !isGp(by)) throw unsupported('cmpxchg of this kind');
    const own = t.gp(by);
    const expected = general(6, own.bits);
    const address = t.address(mem);
    const before = t.temporary(own.bits);
    const failed = t.temporary(32);
    const [again, end] = [t.a.here(), t.a.label()];
    t.emit('ldaxr', before, place(address));
    t.emit('subs', zero(own.bits), before, expected);
    t.emit('b.ne', end);
    t.emit('stlxr', failed, own, place(address));
    t.emit('cbnz', failed, again);
    t.bind(end);
    t.emit('dmb ish');
    t.move(expected, before);
    t.flags = 'compare';
  },
  'rep movsb': (t) => moveBytes(t, true),
  'rep stosb': (t) => moveBytes(t, false),
  // The counter of the generic timer ticks more slowly than that of a processor of x86-64; whoever uses it asks how fast.
  rdtsc(t) {
    t.emit('mrs cntvct_el0', x(6));
    t.emit('orr', x(2), x(31), x(6), lsr(32));
    t.emit('orr', general(6, 32), general(31, 32), general(6, 32));
  },
  lfence: (t) => t.emit('isb'),
  sfence: (t) => t.emit('dmb ishst'),
  pause: (t) => t.emit('yield'),
  nop: (t) => t.emit('nop'),
  prefetcht0: (t, [mem]) => prefetch(t, mem, 'prfm pldl1keep'),
  prefetcht1: (t, [mem]) => prefetch(t, mem, 'prfm pldl2keep'),
  prefetcht2: (t, [mem]) => prefetch(t, mem, 'prfm pldl3keep'),
  prefetchnta: (t, [mem]) => prefetch(t, mem, 'prfm pldl1strm'),
  // FTZ and DAZ together are FPCR.FZ, but for results that rounding would make the least normal number: those are zero here.
  vldmxcsr(t, [mem]) {
    if (!isMem(mem)) throw unsupported('vldmxcsr of this kind');
    const mode = t.temporary();
    t.loadGeneral(general(mode.id, 32), mem, 32);
    t.emit('ubfm', mode, mode, 15, 15);
    t.emit('orr', mode, x(31), mode, lsl(24));
    t.emit('msr fpcr', mode);
  },
};

function prefetch(t: Context, mem: Operand | undefined, name: Mnemonic): void {
  if (!isMem(mem)) throw unsupported('prefetches of this kind');
  t.emit(name, place(t.address(mem)));
}

function extend(t: Context, to: Operand | undefined, from: Operand | undefined, signed: boolean): void {
  if (!isGp(to)) throw unsupported('an extension of this kind');
  const own = t.gp(to);
  if (isMem(from)) t.loadGeneral(own, from, from.bits, signed);
  else if (isGp(from)) {
    // A register of 32 bits is taken as it is: its upper half is zero.
    t.emit(signed ? 'sbfm' : 'ubfm', own, general(t.gp(from).id, own.bits), 0, from.bits - 1);
  }
}

function divide(t: Context, by: Operand | undefined, name: 'udiv' | 'sdiv'): void {
  const bits = isGp(by) ? by.bits : isMem(by) ? by.bits || 64 : 64;
  const [low, high] = [general(6, width(bits)), general(2, width(bits))];
  const divisor = read(t, by, bits);
  const quotient = t.temporary(width(bits));
  t.emit(name, quotient, low, divisor);
  t.emit('msub', high, quotient, divisor, low);
  t.move(low, quotient);
}

function count(t: Context, mem: Operand | undefined, name: 'add' | 'sub'): void {
  if (!isMem(mem)) throw unsupported('a locked count of this kind');
  const bits = width(mem.bits || 64);
  const after = t.temporary(bits);
  exchange(t, mem, bits, (before) => {
    t.emit(name, after, before, 1);
    return after;
  });
}

function write(t: Context, row: Arithmetic, to: Operand, from: Operand, flagsUsed: boolean): void {
  if (isMem(to)) {
    const bits = bitsOf(to, from);
    const value = t.temporary(width(bits));
    t.loadGeneral(value, to, bits);
    arithmetic(t, row, value, value, from, flagsUsed);
    t.storeGeneral(value, to, bits);
    if (flagsUsed && row.setting === undefined) testResult(t, value);
  } else if (isGp(to)) {
    const own = t.gp(to);
    if (own.sp) {
      changeStack(t, row, from);
      return;
    }
    arithmetic(t, row, own, own, from, flagsUsed);
    if (flagsUsed && row.setting === undefined) testResult(t, own);
  }
  t.flags = row.flags;
}

function changeStack(t: Context, { plain }: Arithmetic, by: Operand): void {
  if (!isNumber(by)) throw unsupported('the stack moved by a register');
  const value = Number(by);
  if (plain === 'and') {
    const copy = t.temporary();
    t.move(copy, sp);
    t.emit('and', sp, copy, BigInt(value));
    t.stackAligned = value % 16 === 0;
  } else {
    const size = plain === 'sub' ? -value : value;
    if (Math.abs(size) < 2 ** 24) t.addNumber(sp, sp, size);
    else {
      const copy = t.temporary();
      t.move(copy, sp);
      t.emit('add', copy, copy, t.number(size));
      t.move(sp, copy);
    }
    t.stackAligned = false;
  }
}

const JUMP = /^j(\w+)$/;
const CHOICE = /^cmov(\w+)$/;
const SET = /^set(\w+)$/;

/** False where the mnemonic is none of general registers. */
export function writeInteger(t: Context, source: Source): boolean {
  const { operands, flagsUsed } = source;
  // One instruction with two names.
  const mnemonic = source.mnemonic === 'movabs' ? 'mov' : source.mnemonic;
  const [to, from, by] = operands;
  const row = ARITHMETIC[mnemonic];
  if (row !== undefined && to !== undefined && from !== undefined) {
    const isZero = mnemonic === 'xor' && isGp(to) && isGp(from) && to.id === from.id;
    if (isZero) {
      t.load(t.gp(to), 0);
      if (flagsUsed) testResult(t, t.gp(to));
    } else write(t, row, to, from, flagsUsed);
    return true;
  }
  if (mnemonic === 'inc' || mnemonic === 'dec') {
    write(t, ARITHMETIC[mnemonic === 'inc' ? 'add' : 'sub'] as Arithmetic, to as Operand, 1, flagsUsed);
    return true;
  }
  const shift = SHIFTS[mnemonic];
  if (shift !== undefined) {
    if (!isGp(to)) throw unsupported(`${mnemonic} of memory`);
    const own = t.gp(to);
    const value = by === undefined ? own : read(t, from, to.bits);
    const amount = by ?? from;
    if (isNumber(amount)) t.shift(shift, own, value, Number(amount));
    else t.emit(shift, own, value, general(read(t, amount, 64).id, own.bits));
    if (flagsUsed) testResult(t, own);
    return true;
  }
  if (mnemonic === 'jmp') {
    if (typeof to !== 'object' || to.kind !== 'label') throw unsupported('jumps by register');
    t.emit('b', t.label(to));
    return true;
  }
  const jump = JUMP.exec(mnemonic);
  if (jump !== null && typeof to === 'object' && to.kind === 'label') {
    const condition = conditionOf(jump[1] as string, t.flags);
    if (condition === 'never') return true;
    t.emit(condition === 'always' ? 'b' : (`b.${condition}` as Mnemonic), t.label(to));
    return true;
  }
  const choice = CHOICE.exec(mnemonic);
  if (choice !== null && isGp(to)) {
    const own = t.gp(to);
    const condition = conditionOf(choice[1] as string, t.flags);
    const other = read(t, from, to.bits);
    if (condition === 'always') t.move(own, other);
    else t.emit('csel', own, condition === 'never' ? own : other, own, when(condition === 'never' ? 'al' : condition));
    return true;
  }
  const set = SET.exec(mnemonic);
  if (set !== null && isGp(to)) {
    const own = t.gp(to);
    const bit = t.temporary(32);
    const condition = conditionOf(set[1] as string, t.flags);
    if (condition === 'always' || condition === 'never') t.load(bit, condition === 'always' ? 1 : 0);
    else {
      t.load(bit, 1);
      t.emit('csel', bit, bit, general(31, 32), when(condition));
    }
    t.emit('bfm', general(own.id, 64), general(bit.id, 64), 0, 7);
    return true;
  }
  const own = ROWS[mnemonic];
  if (own === undefined) return false;
  own(t, operands, source);
  return true;
}
