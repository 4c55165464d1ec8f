/** JSON that is well-formed and strange: one value of it, at any depth, is another than belongs there. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const strange: Json[] = [
  null,
  true,
  -1,
  0,
  1e9,
  2 ** 31,
  1e300,
  0.5,
  '',
  'a',
  '(a+)+$',
  '\ud800',
  '__proto__',
  'constructor',
  '\u2581',
  'x'.repeat(3000),
  [],
  {},
  [[]],
  ['a', 'b'],
  { type: 'Sequence' },
  { Regex: '(' },
  { Regex: '(.*)*(.*)*x' },
  { String: '' },
  { type: 'Metaspace', replacement: '' },
  { type: 'FixedLength', length: 1 },
  { type: 'Precompiled', precompiled_charsmap: 'BAAAAAAAAAAAAA==' },
  { type: 'Prepend', prepend: 'y'.repeat(500) },
];

/** A copy with one value, at any depth, changed for another, taken away, or put elsewhere. */
export function mutated(json: Json, random: (limit: number) => number): Json {
  const copy: Json = structuredClone(json);
  const places: [parent: Json[] | { [key: string]: Json }, key: string][] = [];
  const walk = (value: Json, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > 6) return;
    const keys = Object.keys(value);
    // Of a vocabulary a few entries are enough.
    for (const key of keys.length > 40 ? keys.slice(0, 5) : keys) {
      places.push([value, key]);
      walk(Array.isArray(value) ? (value[Number(key)] ?? null) : (value[key] ?? null), depth + 1);
    }
  };
  walk(copy, 0);
  const [parent, key] = places[random(places.length)] ?? [[], '0'];
  const other = places[random(places.length)];
  const fresh =
    random(4) === 0 && other !== undefined
      ? structuredClone(Array.isArray(other[0]) ? (other[0][Number(other[1])] ?? null) : (other[0][other[1]] ?? null))
      : (strange[random(strange.length)] ?? null);
  if (Array.isArray(parent)) parent[Number(key)] = fresh;
  else if (random(6) === 0) delete parent[key];
  else parent[key] = fresh;
  return copy;
}
