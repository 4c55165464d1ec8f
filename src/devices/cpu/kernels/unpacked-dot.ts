/**
 * The walk of a product that decodes its weights first: for as much of K as `steps` says, the panels of the unit are
 * decoded into memory at rsp, and every group of the unit's tokens is multiplied with that; sums lie in memory in between.
 *
 * At rsp: what is the product's own; sums f32 [panels][chunk][16]; decoded steps.
 */
import type { Assembler } from '../asm/assembler.ts';
import { offset, ptr, r8, r9, r10, r11, r12, r13, r14, rax, rcx, rdi, rdx, rsi, rsp } from '../asm/operands.ts';
import { flushSubnormals, keepSubnormals } from './bf16.ts';
import { type PackedFormat, panelBytes, panelRows, tileSize } from './packing.ts';
import { emitForPanel, emitResults, type ResultRows } from './panel-results.ts';
import { type BlockedProduct, tileAt } from './product.ts';

export interface Walk {
  readonly format: PackedFormat;
  readonly N: number;
  readonly K: number;
  /** Panels of the whole weight. */
  readonly panels: number;
  readonly bias: boolean;
  /** Where results are added to something: to rdi how far from them that lies. May change rax. */
  readonly emitResidual?: ((a: Assembler) => void) | undefined;
  /** Bytes of a token's activations. */
  readonly rowBytes: number;
}

const sumBytes = 4 * panelRows;
const panelSums = ({ chunk }: BlockedProduct) => chunk * sumBytes;
const decodedAt = (product: BlockedProduct) => product.ownBytes + product.panels * panelSums(product);

/** Memory at rsp. */
export function unpackedBytes(product: BlockedProduct, K: number): number {
  const { step, stepBytes, steps } = product;
  return decodedAt(product) + Math.min(steps, Math.ceil(K / step)) * stepBytes;
}

/** The sums of rsi tokens. Keeps rsi, and nothing else. */
export function emitUnpackedDot(a: Assembler, product: BlockedProduct, { format, K, rowBytes }: Walk): void {
  const { panels, step, steps, xStepBytes, tokens, flushes } = product;
  const { size, bytes } = tileSize(format);
  const packedStep = (step / size) * bytes;
  const left = r14;
  emitZeroSums(a, product);
  if (flushes) flushSubnormals(a);
  a.emit('mov', left, Math.ceil(K / step));
  const next = a.here('next_steps');
  emitCount();
  emitDecode();

  a.emit('mov', r9, rsi);
  a.emit('lea', r10, ptr(rsp, product.ownBytes));
  a.emit('mov', rdx, r13);
  for (const group of tokens) {
    // The last may reach beyond the tokens.
    const least = group === tokens.at(-1) ? 1 : group;
    const fewer = a.label();
    a.emit('cmp', r9, least);
    a.emit('jl', fewer);
    const more = a.here();
    a.comment(`${group} tokens`);
    emitCount();
    a.emit('mov', r11, r8);
    a.emit('imul', rdi, r8, packedStep);
    a.emit('add', rdi, r12);
    a.emit('lea', rax, ptr(rsp, decodedAt(product)));
    a.emit('mov', rcx, rdx);
    product.emitMultiply({
      a,
      tokens: group,
      count: r11,
      decoded: rax,
      x: rcx,
      ahead: rdi,
      rowBytes,
      sums: r10,
      panelBytes: panelSums(product),
    });
    a.emit('add', rdx, group * rowBytes);
    a.emit('add', r10, group * sumBytes);
    a.emit('sub', r9, group);
    a.emit('cmp', r9, least);
    a.emit('jge', more);
    a.bind(fewer);
  }

  emitCount();
  a.emit('imul', rax, r8, packedStep);
  a.emit('add', r12, rax);
  a.emit('imul', rax, r8, xStepBytes);
  a.emit('add', r13, rax);
  a.emit('sub', left, r8);
  a.emit('jnz', next);
  if (flushes) keepSubnormals(a);

  /** r8 = steps of this time. */
  function emitCount(): void {
    a.emit('mov', r8, steps);
    a.emit('cmp', left, r8);
    a.emit('cmovb', r8, left);
  }

  function emitDecode(): void {
    a.emit('mov', r10, r12);
    a.emit('lea', r9, ptr(rsp, decodedAt(product)));
    const nextPanel = a.here('decode_panel');
    a.emit('mov', rax, r10);
    a.emit('mov', rcx, r9);
    a.emit('mov', rdx, r8);
    const rest = K % step;
    const [skip, done] = [a.label(), a.label()];
    if (rest > 0) {
      // The last step of all is not whole.
      const isWhole = a.label();
      a.emit('cmp', r8, left);
      a.emit('jne', isWhole);
      a.emit('dec', rdx);
      a.emit('jz', skip);
      a.bind(isWhole);
    }
    if (K >= step) {
      const nextStep = a.here();
      emitStep(step);
      a.emit('add', rax, packedStep);
      a.emit('add', rcx, product.stepBytes);
      a.emit('dec', rdx);
      a.emit('jnz', nextStep);
    }
    if (rest > 0) {
      a.emit('cmp', r8, left);
      a.emit('jne', done);
      a.bind(skip);
      emitStep(rest);
      a.bind(done);
    }
    if (panels > 1) {
      a.emit('add', r10, panelBytes(format, K));
      a.emit('add', r9, product.secondPanel);
      a.emit('lea', rax, ptr(rsp, decodedAt(product) + panels * product.secondPanel));
      a.emit('cmp', r9, rax);
      a.emit('jb', nextPanel);
    }
  }

  function emitStep(count: number): void {
    const tileOf = (index: number) =>
      tileAt(a, {
        tokens: 1,
        size: Math.min(size, count - size * index),
        weightAt: index * bytes,
        xAt: () => 0,
      });
    product.emitDecode(tileOf, count);
  }
}

function emitZeroSums(a: Assembler, product: BlockedProduct): void {
  const { panels, vectors, tokens } = product;
  const least = tokens.at(-1) as number;
  const zero = vectors.register(0);
  a.emit('vxorps', zero, zero, zero);
  a.emit('lea', rdi, ptr(rsp, product.ownBytes));
  a.emit('lea', rax, ptr(rsi, least - 1));
  a.emit('and', rax, -least);
  const next = a.here();
  for (let panel = 0; panel < panels; panel++) {
    for (const part of vectors.parts) a.emit('vmovaps', ptr(rdi, panel * panelSums(product) + 32 * part), zero);
  }
  a.emit('add', rdi, sumBytes);
  a.emit('dec', rax);
  a.emit('jnz', next);
}

/** Writes the sums of rsi tokens to `rows`, with the bias at r9, from panel rdx on. Changes rax, rcx, rdi, r10 and r11. */
export function emitUnpackedResults(
  a: Assembler,
  product: BlockedProduct,
  { N, panels: all, bias, emitResidual }: Walk,
  rows: ResultRows,
): void {
  const { panels, vectors } = product;
  a.emit('lea', rcx, ptr(rsp, product.ownBytes));
  a.emit('mov', r11, rsi);
  emitResidual?.(a);
  emitForPanel(a, N, rdx, all - panels, (last) => {
    const next = a.here();
    for (let panel = 0; panel < panels; panel++) {
      const at = sumBytes * panel;
      emitResults(a, vectors, panel === panels - 1 ? last : panelRows, {
        tokens: 1,
        ...(bias && { bias: ptr(r9, at) }),
        ...(emitResidual && { residual: rdi }),
        value: (_, part) => ptr(rcx, panel * panelSums(product) + 32 * part),
        to: () => offset(rows.to(0), at),
      });
    }
    a.emit('add', rcx, sumBytes);
    rows.emitNext(1);
    a.emit('dec', r11);
    a.emit('jnz', next);
  });
}
