/** Bodies of requests: JSON in UTF-8 that has a schema. */
import type { Context } from 'hono';
import type { ZodType, z } from 'zod';
import { ApiError } from './failure.ts';

/** @throws ApiError 400 that says what is wrong where. */
export async function readBody<T>(c: Context, schema: ZodType<T>): Promise<T> {
  const encoding = c.req.header('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new ApiError(415, `bodies in content-encoding ${encoding} are not read; send JSON as it is`);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await c.req.arrayBuffer()));
  } catch {
    throw new ApiError(400, 'the body is not JSON in UTF-8');
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const { path, message } = plainIssue(error.issues[0]);
  const param = path.join('.');
  throw new ApiError(400, `${param === '' ? 'the body' : param}: ${message}`, {
    param: param === '' ? null : param,
  });
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/** Of a union, what is wrong where the alternative ends that the value follows longest: of itself a union only says that none fits. */
function plainIssue(issue: z.core.$ZodIssue): Issue {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue;
  const inner = issue.errors.map(([first]) => plainIssue(first)).sort((a, b) => comparePaths(a.path, b.path));
  const { path } = inner[inner.length - 1];
  const messages = new Set(inner.filter((one) => comparePaths(one.path, path) === 0).map(({ message }) => message));
  return { path: [...issue.path, ...path], message: [...messages].join('; or ') };
}

/** By length, then by the place in a list. */
function comparePaths(a: readonly PropertyKey[], b: readonly PropertyKey[]): number {
  return a.length - b.length || Number(a.at(-1)) - Number(b.at(-1)) || 0;
}
