/**
 * The device of a rank, for a front elsewhere (`remote-device.ts`): does what the front asks, in the order in which it asks. A
 * run meets the other ranks in native code; here nobody is waited for but the front.
 */
import { errorMessage } from '../base/error-message.ts';
import { IngotError } from '../base/errors.ts';
import { compile } from '../compiler/compile.ts';
import type { Bound, Communicator, Device, DeviceBuffer, Executable } from '../devices/device.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import { sliceTensor } from '../formats/slice-tensor.ts';
import { parseModule, programOf } from '../ir/mlir/parse.ts';
import type { Program } from '../ir/program.ts';
import { deferProgram, type Outline, outlineOf } from '../ir/program-text.ts';
import type { Fields, Frame } from './frames.ts';
import type { RankLink } from './rank-link.ts';
import { type Question, type RankSettings, readQuestion } from './rank-messages.ts';

/** What programs take and give, by their text, kept between starts: where the code of a program is kept as well, it need not be parsed. */
export interface KeptOutlines {
  find(text: string): Outline | undefined;
  keep(text: string, outline: Outline): void;
}

/** What a rank has opened to serve a front. */
export interface ServedDevice extends AsyncDisposable {
  readonly device: Device;
  readonly communicator: Communicator;
  /** Of the model, by the name of the parameter. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** Tells models apart. */
  readonly digest: string;
  readonly outlines?: KeptOutlines | undefined;
}

type Open = (settings: RankSettings) => Promise<ServedDevice>;
type Made =
  | { readonly kind: 'executable'; readonly value: Executable }
  | { readonly kind: 'buffer'; readonly value: DeviceBuffer }
  | { readonly kind: 'bound'; readonly value: Bound };
type MadeOf<K extends Made['kind']> = Extract<Made, { kind: K }>['value'];

/** Serves one front after another, each until it leaves, and gives everything back. Whoever comes meanwhile is refused. */
export function frontServer(open: Open): (link: RankLink) => Promise<void> {
  let isTaken = false;
  return async (link) => {
    if (isTaken) {
      refuse(link);
      return;
    }
    isTaken = true;
    try {
      await new Promise<void>((resolve, reject) => new RankServer(link, open, resolve, reject));
    } finally {
      isTaken = false;
    }
  };
}

function refuse(link: RankLink): void {
  const error = errorMessage(new IngotError('InvalidArgument', 'the rank works for another front'));
  link.listen(
    ({ fields: { id } }) => {
      link.send({ kind: 'failed', id, error });
      link.close();
    },
    () => {},
  );
}

class RankServer {
  readonly #link: RankLink;
  readonly #open: Open;
  readonly #made = new Map<number, Made>();
  #served: ServedDevice | undefined;
  /** Settles when the runs that were submitted have ended. */
  #runs: Promise<unknown> = Promise.resolve();

  constructor(link: RankLink, open: Open, resolve: () => void, reject: (error: unknown) => void) {
    this.#link = link;
    this.#open = open;
    link.listen(
      (frame) => this.#take(frame),
      () => this.#close().then(resolve, reject),
    );
  }

  #take(frame: Frame): void {
    const id = Number(frame.fields.id);
    let question: Question | undefined;
    try {
      question = readQuestion(frame.fields);
      if (this.#perform(id, question, frame.parts)) return;
    } catch (error) {
      this.#fail(id, error);
      return;
    }
    this.#ask(question, frame.parts)
      .then(({ fields = {}, parts = [] }) => this.#send({ ...fields, kind: 'done', id }, parts))
      .catch((error) => this.#fail(id, error));
  }

  #fail(id: number, error: unknown): void {
    this.#send({ kind: 'failed', id, error: errorMessage(error) });
  }

  #send(fields: Fields, parts: readonly Uint8Array[] = []): void {
    this.#link.send({ ...fields, ...(this.#served && { memory: this.#served.device.memory() }) }, parts);
  }

  /** What is done at once, so that it keeps its place among the runs. False for other questions. */
  #perform(id: number, question: Question, parts: readonly Uint8Array[]): boolean {
    switch (question.kind) {
      case 'submit':
        this.#submit(id, question, parts);
        return true;
      case 'write':
        this.#device.write(this.#get('buffer', question.buffer), onlyOf(parts), question.offset);
        return true;
      case 'free':
        this.#made.get(question.handle)?.value[Symbol.dispose]();
        this.#made.delete(question.handle);
        return true;
      default:
        return false;
    }
  }

  #submit(id: number, question: Extract<Question, { kind: 'submit' }>, parts: readonly Uint8Array[]): void {
    const { bound, inputs, dims, results } = question;
    const device = this.#device;
    const named = new Map(inputs.map((name, i) => [name, parts[i] ?? new Uint8Array()] as const));
    const ticket = device.submit(this.#get('bound', bound), named, dims);
    this.#runs = this.#runs.then(async () => {
      try {
        const made = await device.wait(ticket, Number.POSITIVE_INFINITY);
        const given = results ? [...made] : [];
        // What is sent may wait for the other side longer than the results last.
        const bytes = given.map(([, view]) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice());
        this.#send({ kind: 'done', id, names: given.map(([name]) => name) }, bytes);
      } catch (error) {
        this.#fail(id, error);
      }
    });
  }

  async #ask(
    question: Question,
    parts: readonly Uint8Array[],
  ): Promise<{ fields?: Fields; parts?: readonly Uint8Array[] }> {
    switch (question.kind) {
      case 'open':
        return { fields: await this.#openDevice(question.settings) };
      case 'compile': {
        const program = this.#programOf(new TextDecoder().decode(onlyOf(parts)));
        const executable = await this.#device.compile(program, ...(question.passes ? [compile] : []));
        this.#keep(question.handle, { kind: 'executable', value: executable });
        return { fields: { scratchBytes: executable.scratchBytes } };
      }
      case 'pack': {
        const { parameter, ranges } = question;
        const stored = this.#served?.weights.get(parameter);
        if (stored === undefined) throw new IngotError('InvalidArgument', `the model has no weight ${parameter}`);
        const own = sliceTensor(
          stored,
          ranges.map((each) => each ?? undefined),
        );
        this.#keep(question.handle, { kind: 'buffer', value: await this.#device.pack(own) });
        return {};
      }
      case 'allocate': {
        const buffer = await this.#device.allocate(question.type, question.memory);
        this.#keep(question.handle, { kind: 'buffer', value: buffer });
        return {};
      }
      case 'bind': {
        const { executable, weights, state } = question;
        const named = (pairs: typeof weights) =>
          new Map(pairs.map(([name, handle]) => [name, this.#get('buffer', handle)] as const));
        const { device, communicator } = this.#opened;
        const bound = await device.bind(
          this.#get('executable', executable),
          named(weights),
          named(state),
          communicator,
        );
        this.#keep(question.handle, { kind: 'bound', value: bound });
        return {};
      }
      case 'read': {
        const { buffer, offset, length } = question;
        return { parts: [await this.#device.read(this.#get('buffer', buffer), offset, length)] };
      }
      case 'close':
        await this.#close();
        return {};
      case 'submit':
      case 'write':
      case 'free':
        throw new Error(`${question.kind} is done at once`);
      default:
        return question satisfies never;
    }
  }

  #programOf(text: string): Program {
    const { outlines } = this.#opened;
    const make = () => programOf(parseModule(text, 'the program of the front'));
    const known = outlines?.find(text);
    if (known !== undefined) return deferProgram(known, text, make);
    const program = make();
    outlines?.keep(text, outlineOf(program));
    return deferProgram(outlineOf(program), text, () => program);
  }

  async #openDevice(settings: RankSettings): Promise<Fields> {
    if (this.#served !== undefined) throw new IngotError('InvalidArgument', 'the rank has a model already');
    const served = await this.#open(settings);
    this.#served = served;
    const { device, digest, weights } = served;
    const { name, hardware, runsAhead, readsFiles = false } = device;
    const packed = new Map<string, number>();
    for (const { format, shape } of weights.values()) {
      packed.set(`${format} ${shape.join('x')}`, device.packedBytes({ format, shape }));
    }
    return { name, hardware, runsAhead, readsFiles, digest, packed: [...packed] };
  }

  #keep(handle: number, made: Made): void {
    if (!this.#made.has(handle)) this.#made.set(handle, made);
    else {
      made.value[Symbol.dispose]();
      throw new IngotError('InvalidArgument', `there is something of handle ${handle} already`);
    }
  }

  #get<K extends Made['kind']>(kind: K, handle: number): MadeOf<K> {
    const found = this.#made.get(handle);
    if (found?.kind === kind) return found.value as MadeOf<K>;
    throw new IngotError('InvalidArgument', `there is no ${kind} of handle ${handle}`);
  }

  get #opened(): ServedDevice {
    if (this.#served === undefined) throw new IngotError('InvalidArgument', 'the rank has opened no device yet');
    return this.#served;
  }

  get #device(): Device {
    return this.#opened.device;
  }

  /** What was made goes before what it stands on. */
  async #close(): Promise<void> {
    await this.#runs;
    for (const { value } of [...this.#made.values()].reverse()) value[Symbol.dispose]();
    this.#made.clear();
    const served = this.#served;
    this.#served = undefined;
    await served?.[Symbol.asyncDispose]();
  }
}

function onlyOf(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1) return only;
  throw new IngotError('ParseError', `a rank is sent ${parts.length} parts instead of one`);
}
