/** Models with names that users give them: NAME=MODEL. */

export interface NamedModel {
  readonly name?: string;
  readonly model: string;
}

/** A path may hold an equals sign: one that is there is no name. */
export function splitName(text: string, exists: (path: string) => boolean): NamedModel {
  const [, name, model] = /^([^=/\\:]+)=(.+)$/s.exec(text) ?? [];
  return name === undefined || exists(text) ? { model: text } : { name, model };
}
