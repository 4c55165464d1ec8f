/** Elementwise ops: a loop around the scalar function of the op (`ir/scalar-functions.ts`). */
import type { BinaryOp, UnaryOp } from '../../ir/attributes.ts';
import {
  type Binary,
  bigBinary,
  bigUnary,
  numberBinary,
  numberUnary,
  storeRounding,
  type Unary,
} from '../../ir/scalar-functions.ts';
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';
import { complexBinary, complexUnary } from './complex.ts';
import { type BigArray, type Kernel, type KernelMaker, type NumberArray, unsupported } from './kernel.ts';

function unaryLoop(element: ElementType, f: Unary): Kernel['run'] {
  const round = storeRounding(element);
  const g: Unary = round === undefined ? f : (x) => round(f(x));
  return ([a], [o]) => {
    const x = a as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i++) out[i] = g(x[i]);
  };
}

function binaryLoop(element: ElementType, f: Binary): Kernel['run'] {
  const round = storeRounding(element);
  const g: Binary = round === undefined ? f : (x, y) => round(f(x, y));
  return ([a, b], [o]) => {
    const x = a as NumberArray;
    const y = b as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i++) out[i] = g(x[i], y[i]);
  };
}

/** The f32 ops of which models are made, each a loop that compiles to plain machine arithmetic. */
const f32Loops: Partial<Record<BinaryOp, (x: Float32Array, y: Float32Array, out: Float32Array) => void>> = {
  add: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] + y[i];
  },
  divide: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] / y[i];
  },
  maximum: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = Math.max(x[i], y[i]);
  },
  multiply: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] * y[i];
  },
  subtract: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] - y[i];
  },
};

export const unary: KernelMaker<UnaryOp> = ({ op, inputs: [{ element }], outputs }) => {
  const { name } = op;
  const kind = elementClass(element);
  const reuse = outputs[0].element === element ? [[0]] : [[]];
  if (kind === 'complex') return { run: complexUnary(op), reuse: [[]] };
  const { bits } = elementTypes[element];
  if (bits === 64 && kind !== 'float') {
    const f = bigUnary[name];
    if (f === undefined) throw unsupported(op, element);
    return {
      run([a], [o]) {
        const x = a as BigArray;
        const out = o as BigArray;
        for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
      },
      reuse,
    };
  }
  const f = numberUnary(name, element);
  if (f === undefined) throw unsupported(op, element);
  return { run: unaryLoop(element, f), reuse };
};

export const binary: KernelMaker<BinaryOp> = ({ op, inputs: [{ element }] }) => {
  const { name } = op;
  const reuse = [[0, 1]];
  if (elementClass(element) === 'complex') return { run: complexBinary(op, element), reuse };
  const f32 = element === 'f32' ? f32Loops[name] : undefined;
  if (f32 !== undefined) {
    return { run: ([x, y], [out]) => f32(x as Float32Array, y as Float32Array, out as Float32Array), reuse };
  }
  const f = numberBinary(name, element);
  if (f !== undefined) return { run: binaryLoop(element, f), reuse };
  const big = elementTypes[element].bits === 64 ? bigBinary[name] : undefined;
  if (big === undefined || elementClass(element) === 'float') throw unsupported(op, element);
  return {
    run([a, b], [o]) {
      const x = a as BigArray;
      const y = b as BigArray;
      const out = o as BigArray;
      for (let i = 0; i < out.length; i++) out[i] = big(x[i], y[i]);
    },
    reuse,
  };
};
