/** Bodies of requests: JSON in UTF-8 that has a schema. */
import type { Context } from 'hono';
import type { ZodType } from 'zod';
import { ApiError } from './failure.ts';

/** @throws ApiError 400 that says what is wrong where. */
export async function readBody<T>(c: Context, schema: ZodType<T>): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await c.req.arrayBuffer()));
  } catch {
    throw new ApiError(400, 'the body is not JSON in UTF-8');
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  const param = issue.path.join('.');
  throw new ApiError(400, `${param === '' ? 'the body' : param}: ${issue.message}`, {
    param: param === '' ? null : param,
  });
}
