/**
 * What the tuner times: products of a model's matrices for one token, for some and for many, attention, and emitted loops whose schedules
 * have choices. Each says which choices matter to it, and gives launches of its kernels for any target, on memory of its own.
 */
import { createHash } from 'node:crypto';
import { planProgram } from '../../compiler/kernel/plan.ts';
import { gatedActivationComposite } from '../../composites/gated_activation.ts';
import { rmsNormComposite } from '../../composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../ir/build.ts';
import type { Value } from '../../ir/program.ts';
import { asTensor, type Dim, maxBytes, tensor } from '../../ir/types.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { emitKernel } from './emit/emit.ts';
import { activationBytes, activationsKernel, activationsOf } from './kernels/activations.ts';
import { attentionBuffers } from './kernels/attention-blocks.ts';
import { type AttentionShape, partialsBytes } from './kernels/attention-shape.ts';
import { writeD } from './kernels/blocks.ts';
import { isIntegerFormat } from './kernels/levels.ts';
import { packRowsKernel } from './kernels/pack-rows.ts';
import { packedBytes, packedFormat, panelRows } from './kernels/packing.ts';
import { attentionKernels } from './kernels/paged-attention.ts';
import { productsOf } from './kernels/products.ts';
import { quantizedDotKernel } from './kernels/quantized-dot.ts';
import { kernelCode } from './machine-code.ts';
import type { MatrixShape } from './matrix-shapes.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { Schedule } from './schedule.ts';
import type { Target } from './target.ts';
import type { Launch, LaunchList, Team } from './team.ts';

export interface Work {
  readonly name: string;
  readonly choices: readonly (keyof Schedule)[];
  prepare(target: Target, team: Team): PreparedWork;
}

export interface PreparedWork extends Disposable {
  /** Of one run. */
  seconds(): number;
  /** Of what it left: the same for all schedules. */
  digest(): string;
}

/** What the last call of a work writes: the beginning of some memory, which other works write too. */
interface Written {
  readonly memory: Memory;
  readonly bytes: number;
}

interface Call {
  readonly kernel: EmittedKernel;
  /** Of buffers and dims, by name. */
  readonly words: Readonly<Record<string, number>>;
}

const MiB = 2 ** 20;
/** What a step has at most (engine/step-limits.ts), and of some sequences that are written at once. */
const [manyTokens, someTokens] = [128, 16];
/** Of each work, that larger ones are cut to: some milliseconds. */
const decodeBytes = 96 * MiB;
const mostCopies = 256;
const prefillRows = 1024;
const loopBytes = 64 * MiB;

/** Memory of all works: kept until they are disposed. */
export class Works implements Disposable {
  readonly list: readonly Work[];
  readonly #system: OperatingSystem;
  readonly #team: Team;
  readonly #target: Target;
  readonly #memory: Memory[] = [];

  /** @throws IngotError 'OutOfMemory'. */
  constructor(system: OperatingSystem, team: Team, target: Target, shapes: readonly MatrixShape[]) {
    this.#system = system;
    this.#team = team;
    this.#target = target;
    try {
      this.list = [
        ...shapes.flatMap((shape) => this.#products(shape, target)),
        ...[1, manyTokens].map((tokens) => this.#attention(tokens)),
        ...this.#loops(shapes[0], target),
      ];
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const memory of this.#memory.splice(0)) memory[Symbol.dispose]();
  }

  #take(bytes: number): Memory {
    const memory = this.#system.mapMemory(bytes, { huge: bytes >= 2 * MiB, prefault: true });
    this.#memory.push(memory);
    return memory;
  }

  #floats(count: number): Memory {
    const memory = this.#take(4 * count);
    const bytes = memory.bytes();
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, count);
    for (let i = 0; i < count; i++) floats[i] = ((i * 40503) % 65536) / 32768 - 1;
    return memory;
  }

  #integers(values: readonly number[]): Memory {
    const memory = this.#take(4 * values.length);
    const bytes = memory.bytes();
    new Int32Array(bytes.buffer, bytes.byteOffset, values.length).set(values);
    return memory;
  }

  /** What runs a kernel after the other. */
  #list(calls: readonly Call[], target: Target, team: Team): LaunchList {
    const codes = new Map<EmittedKernel, MappedCode>();
    const stride = 8 * Math.max(...calls.map(({ kernel }) => kernel.args.length));
    using memory = this.#system.mapMemory(stride * calls.length);
    const { buffer } = memory.bytes();
    const launches = calls.map(({ kernel, words }, i): Launch => {
      const offset = stride * i;
      const code = codes.get(kernel) ?? this.#system.mapCode(kernelCode(kernel, target).bytes);
      codes.set(kernel, code);
      new BigUint64Array(buffer, offset, stride / 8).set(
        kernel.args.map((arg) => BigInt(words[arg.kind === 'buffer' ? arg.name : arg.sym] ?? 0)),
      );
      return { kind: 'kernel', code, offset: 0, argument: { memory, offset } };
    });
    const list = team.list(launches);
    // The list holds them.
    for (const code of codes.values()) code[Symbol.dispose]();
    return list;
  }

  #seconds(list: LaunchList, team: Team): number {
    const start = performance.now();
    team.wait(team.submit(list), Number.POSITIVE_INFINITY);
    return (performance.now() - start) / 1000;
  }

  #run(kernel: EmittedKernel, words: Call['words']): void {
    using list = this.#list([{ kernel, words }], this.#target, this.#team);
    this.#seconds(list, this.#team);
  }

  #work(name: string, choices: Work['choices'], out: Written, calls: (target: Target) => readonly Call[]): Work {
    return {
      name,
      choices,
      prepare: (target, team) => {
        const list = this.#list(calls(target), target, team);
        return {
          seconds: () => this.#seconds(list, team),
          digest: () => createHash('sha256').update(out.memory.bytes(0, out.bytes)).digest('hex'),
          [Symbol.dispose]: () => list[Symbol.dispose](),
        };
      },
    };
  }

  /** One token through memory that no cache holds, and more through some of it. */
  #products({ format: name, N, K }: MatrixShape, target: Target): readonly Work[] {
    const format = packedFormat(name);
    const numerics = isIntegerFormat(format) ? 'i8' : 'f32';
    const bytes = packedBytes(format, [N, K]);
    const copies = Math.max(1, Math.min(mostCopies, Math.floor(decodeBytes / bytes)));
    const weights = this.#take(copies * bytes);
    this.#fillPanels(name, K, weights);
    const x = this.#floats(manyTokens * K);
    const y = this.#take(4 * Math.max(N, manyTokens * Math.min(N, prefillRows)));
    const activations = activationsOf(format, numerics, target);
    const input = activations.kind === 'plain' ? x : this.#take(activationBytes(activations, manyTokens, K));
    if (activations.kind !== 'plain') {
      const kernel = activationsKernel(activations, manyTokens, K);
      this.#run(kernel, { x: x.address, activations: input.address });
    }
    const tokens = { sym: 'T', max: manyTokens } as const;
    const call = (kernel: EmittedKernel, copy: number, T: number): Call => ({
      kernel,
      words: { x: input.address, weight: weights.address + copy * bytes, y: y.address, T },
    });
    const { unpacked } = productsOf(format, numerics, target, { panels: Math.ceil(N / panelRows), K });
    const decoded = numerics === 'i8' ? 'decodedIntegers' : 'decodedFloats';
    const blocking = unpacked === undefined ? (['directTokens'] as const) : (['unpackedTokens', decoded] as const);
    const title = `${name} ${N}x${K}`;
    return [
      this.#work(
        `${title}, one token`,
        ['streams', 'prefetch', 'prefetchBytes', 'sharing'],
        { memory: y, bytes: 4 * N },
        (to) => {
          const kernel = quantizedDotKernel({ format: name, numerics, tokens, N, K, bias: false }, to);
          return Array.from({ length: copies }, (_, copy) => call(kernel, copy, 1));
        },
      ),
      ...[someTokens, manyTokens].map((count) => {
        // As many products as the most tokens have.
        const rows = Math.min(N, (prefillRows * manyTokens) / count);
        const out = { memory: y, bytes: 4 * count * rows };
        return this.#work(`${title}, ${count} tokens`, [...blocking, 'sharing'], out, (to) => {
          const kernel = quantizedDotKernel({ format: name, numerics, tokens, N: rows, K, bias: false }, to);
          return [call(kernel, 0, count)];
        });
      }),
    ];
  }

  /** Panels of rows of a file, all alike. */
  #fillPanels(name: string, K: number, weights: Memory): void {
    const format = packedFormat(name);
    const { blockSize, blockBytes, encode } = blockFormat(name);
    const source = this.#take(((panelRows * K) / blockSize) * blockBytes);
    const rows = source.bytes();
    if (isIntegerFormat(format)) {
      for (let at = 0; at < rows.length; at += blockBytes) {
        const block = rows.subarray(at, at + blockBytes);
        for (let i = 0; i < blockBytes; i++) block[i] = ((at + i) * 2654435761) >>> 24;
        writeD(format, block, -6);
      }
    } else {
      encode?.(
        Float32Array.from({ length: panelRows * K }, (_, i) => ((i * 40503) % 65536) / 32768 - 1),
        rows,
      );
    }
    const panel = packedBytes(format, [panelRows, K]);
    this.#run(packRowsKernel(format, K), { source: source.address, panels: weights.address, T: panelRows });
    const bytes = weights.bytes();
    for (let at = panel; at < bytes.length; at += panel) bytes.copyWithin(at, 0, Math.min(panel, bytes.length - at));
  }

  /** A step of so many tokens of one sequence, deep in a context or at its beginning. */
  #attention(count: number): Work {
    const [heads, kvHeads, dim, blockSize] = [32, 8, 64, 16];
    const context = count === 1 ? 4096 : count;
    const columns = context / blockSize;
    const [T, S] = [
      { sym: 'T', max: count },
      { sym: 'S', max: 1 },
    ] as const satisfies readonly Dim[];
    const shape: AttentionShape = {
      ...{ tokens: T, sequences: S, heads, kvHeads, keyDim: dim, valueDim: dim, keys: 'f32', values: 'f32' },
      ...{ blocks: columns, blockSize, columns, partition: 256, scale: 0.125, sinks: false },
    };
    const y = this.#take(4 * count * heads * dim);
    const buffers: Readonly<Record<string, Memory>> = {
      q: this.#floats(count * heads * dim),
      kPool: this.#floats(context * kvHeads * dim),
      vPool: this.#floats(context * kvHeads * dim),
      positions: this.#integers(Array.from({ length: count }, (_, i) => context - count + i)),
      sequence: this.#integers(Array.from({ length: count }, () => 0)),
      ctxLen: this.#integers([context]),
      blockTable: this.#integers(Array.from({ length: columns }, (_, i) => (i * 5 + 3) % columns)),
      partials: this.#take(Math.max(64, partialsBytes(shape))),
      y,
    };
    const addresses = attentionBuffers(shape).map((name) => [name, buffers[name]?.address ?? 0]);
    const words = { ...Object.fromEntries(addresses), T: count, S: 1 };
    return this.#work(
      `attention of ${count === 1 ? 'a token' : `${count} tokens`} at ${context}`,
      count === 1 ? ['attentionUnits'] : ['attentionRows', 'attentionUnits'],
      { memory: y, bytes: y.length },
      (target) => attentionKernels(shape, target).map(({ make }) => ({ kernel: make(), words })),
    );
  }

  /** Of a model's layers those that follow its largest matrices, and such as it has not. */
  #loops({ N, K }: Pick<MatrixShape, 'N' | 'K'>, { vectorBits }: Target): readonly Work[] {
    const [from, to] = [this.#floats(loopBytes / 4), this.#take(loopBytes)];
    const bits: Work['choices'] = vectorBits === 512 ? ['loopBits'] : [];
    const loop = (name: string, choices: Work['choices'], shape: readonly number[], build: Build): Work => {
      const program = new ProgramBuilder().program(
        [{ name: 'x', type: tensor('f32', shape), role: 'input' }],
        (b, { x }) => ({ y: build(b, x) }),
      );
      const kernels = planProgram(program).main.steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel] : []));
      const bytes = program.results.reduce((sum, { type }) => sum + maxBytes(asTensor(type)), 0);
      return this.#work(name, [...choices, ...bits], { memory: to, bytes }, (target) =>
        kernels.map((kernel) => ({
          kernel: emitKernel(kernel, target),
          words: Object.fromEntries(
            kernel.buffers.map(({ name, access }) => [name, (access === 'read' ? from : to).address]),
          ),
        })),
      );
    };
    const double: Build = (b, x) => b.add(x, x);
    const norm: Build = (b, x) => {
      const weight = b.reshape(b.slice(x, 0, 0, 1), [K]);
      return rmsNormComposite.decompose(b, [x, weight], { epsilon: 1e-5 })[0];
    };
    const width = Math.min(N, loopBytes / (8 * manyTokens));
    const gate: Build = (b, x) => {
      const halves = [0, width].map((start) => b.slice(x, 1, start, start + width));
      return gatedActivationComposite.decompose(b, halves, { activation: 'silu' })[0];
    };
    return [
      loop(`norm of ${manyTokens} x ${K}`, ['loopVectors'], [manyTokens, K], norm),
      loop(`gate of ${manyTokens} x ${width}`, ['chainVectors'], [manyTokens, 2 * width], gate),
      loop('transpose 2048x2048', ['tileSide'], [2048, 2048], (b, x) => b.transpose(x, [1, 0])),
      loop('sum of columns 4096x4096', ['stripBytes'], [4096, 4096], (b, x) => b.reduce('add', x, 0, [0])),
      loop('write 8 MiB', ['streamedBytes'], [2 * MiB], double),
      loop('write 32 MiB', ['streamedBytes'], [8 * MiB], double),
    ];
  }
}

type Build = (b: Builder, x: Value) => Value;
