/** Who may ask: API keys, of which only hashes are kept and compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import type { Variables } from './context.ts';
import { ApiError } from './failure.ts';

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Sets `key` to the number of the key that was sent; anybody may ask where there are none. */
export function keysRequired(apiKeys: readonly string[]): MiddlewareHandler<{ Variables: Variables }> {
  const digests = apiKeys.map(digest);
  return async (c, next) => {
    const sent = digest(c.req.header('authorization')?.replace(/^Bearer\s+/i, '') ?? '');
    const found = digests.findIndex((known) => timingSafeEqual(known, sent));
    if (digests.length > 0 && found < 0) {
      throw new ApiError(401, 'the API key is missing or wrong', { code: 'invalid_api_key' });
    }
    c.set('key', found < 0 ? '' : String(found));
    await next();
  };
}
