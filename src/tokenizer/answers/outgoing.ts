/** What an answer is made of, in the order in which it becomes certain. */

export type AnswerPart =
  | { readonly kind: 'text' | 'thoughts'; readonly text: string }
  /** A call begins. They are counted from 0. */
  | { readonly kind: 'call'; readonly index: number; readonly name: string }
  /** A part of its arguments: JSON, as the model writes it. */
  | { readonly kind: 'arguments'; readonly index: number; readonly text: string };

export class Outgoing {
  readonly #limit: number;
  #parts: AnswerPart[] = [];
  #calls = 0;
  #saidText = false;
  #full = false;

  /** @param limit with another call than so many the answer is over. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether any text was given, white space too. */
  get saidText(): boolean {
    return this.#saidText;
  }

  readonly text = (text: string): void => {
    this.#saidText ||= text !== '';
    this.#say('text', text);
  };

  readonly thoughts = (text: string): void => this.#say('thoughts', text);

  call(name: string): void {
    this.#full ||= this.#calls === this.#limit;
    if (!this.#full) this.#parts.push({ kind: 'call', index: this.#calls++, name });
  }

  /** Of the call that began last. */
  readonly arguments = (text: string): void => this.#say('arguments', text);

  /** What was said since the last time. */
  drain(): readonly AnswerPart[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  #say(kind: 'text' | 'thoughts' | 'arguments', text: string): void {
    if (text === '' || this.#full) return;
    const last = this.#parts.at(-1);
    const joined = last?.kind === kind ? last.text + text : text;
    if (last?.kind === kind) this.#parts.pop();
    this.#parts.push(kind === 'arguments' ? { kind, index: this.#calls - 1, text: joined } : { kind, text: joined });
  }
}
