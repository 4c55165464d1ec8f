/**
 * Which texts are known, in whole blocks: a tree in which every node is a block of tokens and stands for all tokens from the
 * beginning of a text to its own last one, as vLLM's automatic prefix caching and SGLang's radix tree have it. Where the contents lie, in a block of the pools or in a
 * slot outside of them, is written on the node; here are the slots, which are given away in the order in which they were filled.
 */
import { IngotError } from '../base/errors.ts';

/** A whole block with known contents. */
export interface Known {
  /** Undefined at the beginning of texts. */
  readonly parent: Known | undefined;
  /** Its own tokens, among the children of its parent. */
  readonly key: string;
  readonly children: Map<string, Known>;
  /** Where the contents are: in a block of the pools or in a slot outside; in neither while they are fetched. */
  block: number | undefined;
  slot: number | undefined;
}

export class KnownTexts {
  readonly slotCount: number;
  readonly #blockSize: number;
  readonly #freeSlots: number[];
  /** Slots with what they hold, the first that was filled first. */
  readonly #stored = new Map<number, Known>();
  /** The beginnings of texts, by who may share them. */
  readonly #roots = new Map<string, Known>();

  constructor(blockSize: number, slotCount: number) {
    this.#blockSize = blockSize;
    this.slotCount = slotCount;
    this.#freeSlots = Array.from({ length: slotCount }, (_, i) => slotCount - 1 - i);
  }

  get storedBlocks(): number {
    return this.#stored.size;
  }

  /** The beginning of all texts of an owner; undefined where it has none. */
  root(owner: string): Known | undefined {
    return this.#roots.get(owner);
  }

  #begin(owner: string): Known {
    const root: Known = { parent: undefined, key: owner, children: new Map(), block: undefined, slot: undefined };
    this.#roots.set(owner, root);
    return root;
  }

  #keyOf(tokens: readonly number[], block: number): string {
    return tokens.slice(block * this.#blockSize, (block + 1) * this.#blockSize).join();
  }

  /** Block `i` of a text, of which `last` is the one before. */
  after(last: Known | undefined, tokens: readonly number[], i: number): Known | undefined {
    return last?.children.get(this.#keyOf(tokens, i));
  }

  /** The same, which is there from now on. */
  add(last: Known | undefined, tokens: readonly number[], i: number, owner: string): Known {
    const parent = last ?? this.#roots.get(owner) ?? this.#begin(owner);
    const key = this.#keyOf(tokens, i);
    const known = parent.children.get(key);
    if (known !== undefined) return known;
    const next: Known = { parent, key, children: new Map(), block: undefined, slot: undefined };
    parent.children.set(key, next);
    return next;
  }

  /** Whether its beginning is known still. */
  #isFound(known: Known): boolean {
    let each = known;
    while (each.parent !== undefined) {
      if (each.parent.children.get(each.key) !== each) return false;
      each = each.parent;
    }
    return this.#roots.get(each.key) === each;
  }

  /** It is found no more, nor what follows it. */
  detach(known: Known): void {
    const { parent, key } = known;
    if (parent?.children.get(key) === known) parent.children.delete(key);
    // Owners that have nothing any more are forgotten.
    if (parent?.parent === undefined && parent?.children.size === 0) this.#roots.delete(parent.key);
    const rest = [known];
    for (let each = rest.pop(); each !== undefined; each = rest.pop()) {
      this.leaveSlot(each);
      rest.push(...each.children.values());
    }
  }

  /** A slot for contents that lose their block; where there is none for them they are found no more. */
  store(known: Known): number | undefined {
    const slot = this.#isFound(known) ? this.#takeSlot() : undefined;
    if (slot === undefined) this.detach(known);
    else this.#put(known, slot);
    return slot;
  }

  #takeSlot(): number | undefined {
    const [oldest] = this.#stored.values();
    if (this.#freeSlots.length === 0 && oldest !== undefined) this.detach(oldest);
    return this.#freeSlots.pop();
  }

  #put(known: Known, slot: number): void {
    known.slot = slot;
    this.#stored.set(slot, known);
  }

  /** The contents are elsewhere, or nowhere. */
  leaveSlot(known: Known): void {
    if (known.slot === undefined) return;
    this.#stored.delete(known.slot);
    this.freeSlot(known.slot);
    known.slot = undefined;
  }

  freeSlot(slot: number): void {
    this.#freeSlots.push(slot);
  }

  /** Contents did not get into their slot. */
  lose(slot: number): void {
    const known = this.#stored.get(slot);
    if (known !== undefined) this.detach(known);
  }

  /** Slots that are nobody's to take while they are read: those that `contents` have. */
  lend(contents: readonly Known[]): readonly number[] {
    return contents.flatMap((known) => {
      const { slot } = known;
      if (slot === undefined) return [];
      this.#stored.delete(slot);
      known.slot = undefined;
      return [slot];
    });
  }

  /** They were not read after all. */
  takeBack(contents: readonly Known[], slots: readonly number[]): void {
    for (const [i, slot] of slots.entries()) this.#put(contents[i], slot);
  }

  /** @throws IngotError 'DeviceFault' if a slot is lost or there twice; `lent`: those that are being read. */
  checkIntegrity(lent: readonly number[]): void {
    const slots = new Uint8Array(this.slotCount);
    for (const slot of [...this.#freeSlots, ...this.#stored.keys(), ...lent]) slots[slot]++;
    if (slots.some((times) => times !== 1)) throw new IngotError('DeviceFault', 'a slot is lost, or there twice');
    for (const [slot, known] of this.#stored) {
      if (known.slot === slot && known.block === undefined) continue;
      throw new IngotError('DeviceFault', `slot ${slot} holds what cannot be found`);
    }
  }
}
