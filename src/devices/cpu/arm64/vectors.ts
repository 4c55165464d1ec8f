/** Vector instructions of x86-64 whose halves differ, or that move between vectors, memory and general registers. */
import { type General, lane, place, tableOf, v } from '../asm/arm64/operands.ts';
import { isGp, isMem, isVec, type Operand } from '../asm/operands.ts';
import { type Context, unsupported } from './context.ts';
import { CONVERSIONS } from './conversions.ts';
import { LANES } from './lanes.ts';
import { ELEMENT, type Row, scalar, vector } from './vector-row.ts';

/** Whole vectors, from and to memory. */
const moveWhole: Row = (t, [to, from]) => {
  if (isMem(to)) {
    const ids = t.halves(vector(from));
    const at = t.place(to, 16, ids.length);
    ids.forEach((id, i) => {
      t.emit('str', v(id, 'q'), i === 0 ? at : { ...at, offset: at.offset + 16 });
    });
    return;
  }
  const own = vector(to);
  const ids = t.halves(own, true);
  if (isMem(from)) {
    const at = t.place(from, 16, ids.length);
    ids.forEach((id, i) => {
      t.emit('ldr', v(id, 'q'), i === 0 ? at : { ...at, offset: at.offset + 16 });
    });
  } else {
    const sources = t.halves(vector(from));
    ids.forEach((id, i) => {
      t.copy(id, sources[i] as number);
    });
  }
  t.clearUpper(own);
};

/** One element, which the rest of the register is cleared around. */
const moveElement =
  (bits: 32 | 64): Row =>
  (t, [to, from, third]) => {
    if (third !== undefined) throw unsupported('moves of one element between vectors');
    if (isMem(to)) {
      t.emit('str', scalar(t.halves(vector(from))[0] as number, bits), t.place(to, bits / 8));
      return;
    }
    if (isGp(to)) {
      t.emit('fmov', t.gp(to, bits), scalar(t.halves(vector(from))[0] as number, bits));
      return;
    }
    const own = vector(to);
    const [id = 0] = t.halves(own, true);
    if (isMem(from)) t.emit('ldr', scalar(id, bits), t.place(from, bits / 8));
    else if (isGp(from)) t.emit('fmov', scalar(id, bits), t.gp(from, bits));
    else t.emit('fmov', scalar(id, bits), scalar(t.halves(vector(from))[0] as number, bits));
    t.clearUpper(own);
  };

/** One element everywhere. */
const broadcast =
  (bits: 8 | 16 | 32 | 64): Row =>
  (t, [to, from]) => {
    const own = vector(to);
    const shape = ({ 8: '16b', 16: '8h', 32: '4s', 64: '2d' } as const)[bits];
    const [first = 0, second] = t.halves(own, true);
    if (isMem(from)) t.emit('ld1r', v(first, shape), place(t.address(from)));
    else t.emit('dup', v(first, shape), lane(t.halves(vector(from))[0] as number, ELEMENT[bits], 0));
    if (second !== undefined) t.copy(second, first);
    t.clearUpper(own);
  };

/** 128 bits of memory in both halves. */
const broadcastHalf: Row = (t, [to, from]) => {
  const [first = 0, second = 0] = t.halves(vector(to), true);
  if (!isMem(from)) throw unsupported('a broadcast of this kind');
  t.emit('ldr', v(first, 'q'), t.place(from, 16));
  t.copy(second, first);
};

/** One lane from memory or a general register into a copy. */
const insert =
  (bits: 8 | 16 | 32 | 64): Row =>
  (t, [to, base, from, index]) => {
    const own = vector(to);
    const [id = 0] = t.halves(own, true);
    const [source = 0] = t.halves(vector(base));
    let value: General;
    if (isMem(from)) {
      value = t.temporary(bits === 64 ? 64 : 32);
      t.loadGeneral(value, { ...from, bits }, bits);
    } else if (isGp(from)) value = t.gp(from, bits === 64 ? 64 : 32);
    else throw unsupported('insertion of this kind');
    t.copy(id, source);
    t.emit('ins', lane(id, ELEMENT[bits], Number(index)), value);
    t.clearUpper(own);
  };

const extract =
  (bits: 8 | 16 | 32 | 64): Row =>
  (t, [to, from, index]) => {
    const [id = 0] = t.halves(vector(from));
    const value = isGp(to) ? t.gp(to, bits === 64 ? 64 : 32) : t.temporary(bits === 64 ? 64 : 32);
    t.emit('umov', value, lane(id, ELEMENT[bits], Number(index)));
    if (isMem(to)) t.storeGeneral(value, to, bits);
  };

const extractHalf: Row = (t, [to, from, index]) => {
  const half = t.halves({ ...vector(from), bits: 256 })[Number(index)] as number;
  if (isMem(to)) {
    t.emit('str', v(half, 'q'), t.place(to, 16));
    return;
  }
  const own = vector(to);
  t.copy(t.halves(own, true)[0] as number, half);
  t.clearUpper(own);
};

const insertHalf: Row = (t, [to, base, from, index]) => {
  const [low = 0, high = 0] = t.halves(vector(to), true);
  const [first = 0, second = 0] = t.halves(vector(base));
  const [half = 0] = t.source(from, 128);
  // What is inserted may lie where the other half goes.
  if (Number(index) === 0) {
    const kept = half === high ? t.vector() : half;
    t.copy(kept, half);
    t.copy(high, second);
    t.copy(low, kept);
  } else {
    t.copy(high, half);
    t.copy(low, first);
  }
};

/** The signs of all lanes as bits. */
const signs =
  (bits: 32 | 64): Row =>
  (t, [to, from]) => {
    if (!isGp(to)) throw unsupported('signs to memory');
    const own = t.gp(to, 32);
    const shape = bits === 32 ? '4s' : '2d';
    const ids = t.halves(vector(from));
    const [flags, sum] = [t.vector(), t.vector()];
    const lanes = 128 / bits;
    ids.forEach((id, half) => {
      const weights = t.constant(
        bits === 32 ? [1, 2, 4, 8].map((one) => one << (4 * half)) : [1 << (2 * half), 0, 2 << (2 * half), 0],
      );
      t.emit('cmlt', v(flags, shape), v(id, shape), 0);
      t.emit('and', v(half === 0 ? sum : flags, '16b'), v(flags, '16b'), v(weights, '16b'));
      if (half === 1) t.emit('orr', v(sum, '16b'), v(sum, '16b'), v(flags, '16b'));
    });
    t.emit('addv', v(sum, 's'), v(sum, '4s'));
    t.emit('fmov', own, v(sum, 's'));
    if (lanes * ids.length > 32) throw unsupported('so many signs');
  };

/** Runs `write` for each lane whose mask has its sign. */
function whereSigned(t: Context, mask: number, bits: 32 | 64, write: (index: number) => void): void {
  for (let index = 0; index < 128 / bits; index++) {
    t.part(() => {
      const word = t.temporary(32);
      const skip = t.a.label();
      // The upper word of an element has its sign.
      t.emit('umov', word, lane(mask, 's', bits === 32 ? index : 2 * index + 1));
      t.emit('tbz', word, 31, skip);
      write(index);
      t.bind(skip);
    });
  }
}

const moveMasked =
  (bits: 32 | 64): Row =>
  (t, [to, second, third]) => {
    const memory = isMem(to) ? to : third;
    if (!isMem(memory)) throw unsupported('masked moves between registers');
    const masks = t.halves(vector(second));
    const address = t.address(memory);
    const element = ELEMENT[bits];
    const at = (half: number, index: number) => place(address, 16 * half + (index * bits) / 8);
    if (isMem(to)) {
      const ids = t.halves(vector(third));
      masks.forEach((mask, half) => {
        whereSigned(t, mask, bits, (index) => {
          const value = t.temporary(bits);
          t.emit('umov', value, lane(ids[half] as number, element, index));
          t.emit('str', value, at(half, index));
        });
      });
      return;
    }
    const own = vector(to);
    const ids = t.halves(own, true);
    masks.forEach((mask, half) => {
      t.part(() => {
        const result = t.vector();
        t.emit('movi', v(result, '16b'), 0);
        whereSigned(t, mask, bits, (index) => {
          const value = t.temporary(bits);
          t.emit('ldr', value, at(half, index));
          t.emit('ins', lane(result, element, index), value);
        });
        t.copy(ids[half] as number, result);
      });
    });
    t.clearUpper(own);
  };

/** Elements from where indices of 32 bits say, lane by lane; the mask is cleared. */
const gather =
  (bits: 32 | 64): Row =>
  (t, [to, from, by]) => {
    if (!isMem(from) || from.index?.kind !== 'vec') throw unsupported('a gather of this kind');
    const [own, masked] = [vector(to), vector(by)];
    const [ids, masks] = [t.halves(own, true), t.halves(masked, true)];
    const indices = t.halves(from.index);
    const { index: _, ...rest } = from;
    const base = t.address(rest);
    const perHalf = 128 / bits;
    masks.forEach((mask, half) => {
      whereSigned(t, mask, bits, (index) => {
        const [offset, value] = [t.temporary(), t.temporary(bits)];
        const number = half * perHalf + index;
        t.emit('smov', offset, lane(indices[Math.floor(number / 4)] as number, 's', number % 4));
        t.emit('add', offset, base, offset, { kind: 'shift', op: 'lsl', amount: Math.log2(from.scale) });
        t.emit('ldr', value, place(offset));
        t.emit('ins', lane(ids[half] as number, ELEMENT[bits], index), value);
      });
    });
    for (const mask of masks) t.emit('movi', v(mask, '16b'), 0);
    t.clearUpper(own);
    t.clearUpper(masked);
  };

/** Quarters of 64 bits by an immediate. */
const permuteQuarters: Row = (t, [to, from, choice]) => {
  const ids = t.halves(vector(to), true);
  const sources = t.source(from, 256);
  const results = [t.vector(), t.vector()];
  for (let i = 0; i < 4; i++) {
    const at = (Number(choice) >> (2 * i)) & 3;
    const [result = 0, source = 0] = [results[i >> 1], sources[at >> 1]];
    t.emit('ins', lane(result, 'd', i & 1), lane(source, 'd', at & 1));
  }
  ids.forEach((id, i) => {
    t.copy(id, results[i] as number);
  });
};

/** Words of a register by indices: their bytes from the lower half, and over those from the upper one. */
const permuteWords: Row = (t, [to, by, from]) => {
  const ids = t.halves(vector(to), true);
  const indices = t.halves(vector(by));
  const [low = 0, high = 0] = t.source(from, 256);
  const results = indices.map((index) => {
    const [bytes, result] = [t.vector(), t.vector()];
    t.part(() => {
      const spread = t.constant([0x04040404]);
      const seven = t.vector();
      t.emit('movi', v(seven, '16b'), 0);
      t.emit('dup', v(seven, '4s'), t.number(7, 32));
      t.emit('and', v(bytes, '16b'), v(index, '16b'), v(seven, '16b'));
      t.emit('mul', v(bytes, '4s'), v(bytes, '4s'), v(spread, '4s'));
    });
    t.part(() => {
      const places = t.constant([0x03020100]);
      t.emit('add', v(bytes, '16b'), v(bytes, '16b'), v(places, '16b'));
      t.emit('tbl', v(result, '16b'), tableOf(low, 1), v(bytes, '16b'));
      t.emit('movi', v(places, '16b'), 16);
      t.emit('sub', v(bytes, '16b'), v(bytes, '16b'), v(places, '16b'));
      t.emit('tbx', v(result, '16b'), tableOf(high, 1), v(bytes, '16b'));
    });
    return result;
  });
  ids.forEach((id, i) => {
    t.copy(id, results[i] as number);
  });
};

const ROWS: Readonly<Record<string, Row>> = {
  ...Object.fromEntries(
    ['vmovaps', 'vmovapd', 'vmovups', 'vmovupd', 'vmovdqa', 'vmovdqu', 'vmovntdq', 'vmovntps', 'vlddqu'].map((name) => [
      name,
      moveWhole,
    ]),
  ),
  vmovss: moveElement(32),
  vmovsd: moveElement(64),
  vmovd: moveElement(32),
  vmovq: moveElement(64),
  vbroadcastss: broadcast(32),
  vbroadcastsd: broadcast(64),
  vpbroadcastb: broadcast(8),
  vpbroadcastw: broadcast(16),
  vpbroadcastd: broadcast(32),
  vpbroadcastq: broadcast(64),
  ...{ vbroadcastf128: broadcastHalf, vbroadcasti128: broadcastHalf },
  ...CONVERSIONS,
  ...{ vpinsrb: insert(8), vpinsrw: insert(16), vpinsrd: insert(32), vpinsrq: insert(64) },
  ...{ vpextrb: extract(8), vpextrw: extract(16), vpextrd: extract(32), vpextrq: extract(64) },
  ...{ vextractf128: extractHalf, vextracti128: extractHalf, vinsertf128: insertHalf, vinserti128: insertHalf },
  ...{ vmovmskps: signs(32), vmovmskpd: signs(64) },
  ...{ vmaskmovps: moveMasked(32), vmaskmovpd: moveMasked(64), vpmaskmovd: moveMasked(32), vpmaskmovq: moveMasked(64) },
  ...{ vgatherdps: gather(32), vgatherdpd: gather(64), vpgatherdd: gather(32), vpgatherdq: gather(64) },
  vpermq: permuteQuarters,
  ...{ vpermd: permuteWords, vpermps: permuteWords },
  vzeroupper() {},
};

/** Whether both operands are one register, so that the result does not depend on it. */
const CLEARING = new Set(['vxorps', 'vxorpd', 'vpxor', 'vpxord']);

function writeLanes(t: Context, mnemonic: string, operands: readonly Operand[]): boolean {
  const row = LANES[mnemonic];
  if (row === undefined) return false;
  const own = vector(operands[0]);
  const [, first, second] = operands;
  if (CLEARING.has(mnemonic) && isVec(first) && isVec(second) && first.id === second.id) {
    for (const id of t.halves(own, true)) t.emit('movi', v(id, '16b'), 0);
    t.clearUpper(own);
    return true;
  }
  const ids = t.halves(own, true);
  const last = operands.at(-1);
  const immediate = typeof last === 'object' || last === undefined ? 0 : Number(last) & 0xff;
  const sources = operands.filter((operand, i) => typeof operand === 'object' && (i > 0 || row.updates === true));
  if (row.element !== undefined) {
    const values = sources.map(
      (operand) => t.source(operand, isMem(operand) ? (row.element as number) : 128)[0] as number,
    );
    const result = t.vector();
    const [id = 0] = ids;
    // VSQRTSS has one source that is computed with, behind the one that is kept.
    row.write(t, result, mnemonic.startsWith('vsqrt') ? values.slice(1) : values, immediate);
    t.copy(id, values[0] as number);
    const element = ELEMENT[row.element];
    t.emit('ins', lane(id, element, 0), lane(result, element, 0));
    t.clearUpper(own);
    return true;
  }
  const values = sources.map((operand) => t.source(operand, own.bits));
  ids.forEach((id, half) => {
    t.part(() =>
      row.write(
        t,
        id,
        values.map((each) => each[half] as number),
        immediate,
      ),
    );
  });
  t.clearUpper(own);
  return true;
}

/** False where the mnemonic is none of vectors. */
export function writeVector(t: Context, mnemonic: string, operands: readonly Operand[]): boolean {
  if (writeLanes(t, mnemonic, operands)) return true;
  const row = ROWS[mnemonic];
  if (row === undefined) return false;
  row(t, operands);
  return true;
}
