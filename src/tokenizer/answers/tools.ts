/** Functions that a model may call: the schemas of their arguments by their names. */
export type Tools = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** Of tools as OpenAI's API describes them. What is none is passed over. */
export function readTools(tools: readonly unknown[]): Tools {
  return new Map(
    tools.flatMap((tool) => {
      const { name, parameters } = record(record(tool).function);
      return typeof name === 'string' ? [[name, record(record(parameters).properties)] as const] : [];
    }),
  );
}

/** An object's fields; none of anything else. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
