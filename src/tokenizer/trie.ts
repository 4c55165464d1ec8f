/** Strings by their beginnings, in typed arrays: the children of a node lie side by side, sorted by their code unit. */
export class Trie {
  /** Of node n, children are `#children[n]` up to `#children[n + 1]`. */
  readonly #children: Int32Array;
  readonly #units: Uint16Array;
  readonly #values: Int32Array;

  /** @param entries strings with what they stand for, 0 or more; of equal strings the last one counts. */
  constructor(entries: Iterable<readonly [text: string, value: number]>) {
    const values = new Map(entries);
    const texts = [...values.keys()].sort();
    // Nodes in the order of their depth; each is a range of the sorted strings, which share its beginning.
    const ranges: [low: number, high: number][] = [[0, texts.length]];
    const children: number[] = [];
    const units: number[] = [0];
    const found: number[] = [];
    for (let node = 0, depth = 0, deeper = 1; node < ranges.length; node++) {
      if (node === deeper) {
        depth++;
        deeper = ranges.length;
      }
      const [low, high] = ranges[node] ?? [0, 0];
      children.push(ranges.length);
      const whole = low < high && texts[low]?.length === depth;
      found.push(whole ? (values.get(texts[low] ?? '') ?? -1) : -1);
      for (let at = low + (whole ? 1 : 0); at < high; ) {
        const unit = texts[at]?.charCodeAt(depth) ?? 0;
        let end = at + 1;
        while (end < high && texts[end]?.charCodeAt(depth) === unit) end++;
        ranges.push([at, end]);
        units.push(unit);
        at = end;
      }
    }
    children.push(ranges.length);
    this.#children = Int32Array.from(children);
    this.#units = Uint16Array.from(units);
    this.#values = Int32Array.from(found);
  }

  /** Where a code unit leads from a node (0 is the beginning), or -1. */
  step(node: number, unit: number): number {
    let low = this.#children[node] ?? 0;
    let high = this.#children[node + 1] ?? 0;
    while (low < high) {
      const middle = (low + high) >> 1;
      const found = this.#units[middle] ?? 0;
      if (found === unit) return middle;
      if (found < unit) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /** What the string that ends at a node stands for, or -1. */
  value(node: number): number {
    return this.#values[node] ?? -1;
  }
}
