/**
 * What a person types, or a pipe brings, as messages: a line each, or several. A line that ends in a backslash goes on in the
 * next; a line that begins with """ goes on until a line that ends with """. Lines that come during an answer wait.
 */
import { createInterface, type Interface } from 'node:readline';
import { exitCodes } from './failure.ts';

export interface ChatLine {
  readonly text: string;
  /** It was between """ and is a message, whatever it begins with. */
  readonly block: boolean;
}

const quotes = '"""';

export class ChatInput implements Disposable {
  readonly isTerminal = process.stdin.isTTY === true;
  readonly #lines: Interface;
  readonly #waiting: string[] = [];
  #ended = false;
  /** Lines of a message that goes on. */
  #begun: string[] = [];
  #wake: () => void = () => {};

  /** Ctrl-C was said once at an empty prompt. */
  #warned = false;

  /** @param onInterrupt Ctrl-C at a terminal, which readline takes instead of the system. */
  constructor(onInterrupt: () => void) {
    const output = process.stdout.isTTY ? process.stdout : process.stderr;
    this.#lines = createInterface({
      input: process.stdin,
      terminal: this.isTerminal,
      ...(this.isTerminal && { output, historySize: 1000, removeHistoryDuplicates: true }),
    });
    this.#lines.on('line', (line) => {
      this.#warned = false;
      this.#waiting.push(line);
      this.#wake();
    });
    this.#lines.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
    this.#lines.on('SIGINT', onInterrupt);
    // Readline pauses the input when the process goes on after Ctrl-Z; nothing else would keep it alive.
    this.#lines.on('SIGCONT', () => this.#lines.resume());
  }

  /** Ctrl-C while nothing works: leaves what is typed, as shells do; at an empty prompt it ends the input, the second time. */
  interrupt(): void {
    if (!this.isTerminal) {
      process.exitCode = exitCodes.interrupted;
      this.#lines.close();
    } else if (this.#lines.line !== '' || this.#begun.length > 0) {
      this.#begun = [];
      this.#lines.write(null, { ctrl: true, name: 'e' });
      this.#lines.write(null, { ctrl: true, name: 'u' });
      // Terminals that are too plain for readline to edit on.
      Object.assign(this.#lines, { line: '', cursor: 0 });
      process.stderr.write('\n');
      this.#wake();
    } else if (this.#warned) {
      this.#lines.close();
    } else {
      this.#warned = true;
      process.stderr.write('\nCtrl-C once more, or Ctrl-D, leaves.\n');
      this.#wake();
    }
  }

  /** The next message; undefined when the input has ended. */
  async next(): Promise<ChatLine | undefined> {
    this.#begun = [];
    for (;;) {
      const line = await this.#line();
      if (line === undefined)
        return this.#begun.length > 0 ? { text: this.#begun.join('\n'), block: false } : undefined;
      const inBlock = this.#begun[0]?.startsWith(quotes) ?? false;
      this.#begun.push(line);
      if (inBlock || line.startsWith(quotes)) {
        const text = this.#begun.join('\n').slice(quotes.length);
        const closed = text.trimEnd();
        if (closed.endsWith(quotes))
          return { text: closed.slice(0, -quotes.length).replace(/^\n|\n$/g, ''), block: true };
      } else if (line.endsWith('\\')) {
        this.#begun[this.#begun.length - 1] = line.slice(0, -1);
      } else {
        return { text: this.#begun.join('\n'), block: false };
      }
    }
  }

  [Symbol.dispose](): void {
    this.#lines.close();
  }

  async #line(): Promise<string | undefined> {
    while (this.#waiting.length === 0 && !this.#ended) {
      if (this.isTerminal) {
        this.#lines.setPrompt(this.#begun.length > 0 ? '. ' : '> ');
        this.#lines.prompt();
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waiting.shift();
  }
}
