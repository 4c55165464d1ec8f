/**
 * Requests to the hub and to where it sends us (large files lie on other hosts). The token goes to the hub alone. What may pass is
 * tried again: a dropped or silent connection, an overloaded server, a signed address that ran out (RFC 9110 for the answers).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { IngotError, throwIfAborted } from '../base/errors.ts';

export interface Hub {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token?: string;
  /** Milliseconds without a byte after which a connection is given up. */
  readonly patience: number;
  /** Milliseconds before the first new attempt; each next one waits twice as long. */
  readonly firstWait: number;
  readonly signal?: AbortSignal;
  /** Called with what one might wonder about. */
  readonly onNotice?: (text: string) => void;
}

const attempts = 6;
const maxRedirects = 5;
/** A server that asks for more patience than this is not waited for. */
const maxWaitSeconds = 60;

/** The hub that the user's environment names, by the conventions of Hugging Face's own tools. @throws IngotError 'Usage'. */
export function hubOfEnvironment(signal?: AbortSignal): Hub {
  const { HF_ENDPOINT: endpoint, HF_TOKEN: token, HF_HUB_DOWNLOAD_TIMEOUT: timeout } = process.env;
  const url = endpoint?.trim() || 'https://huggingface.co';
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new IngotError('Usage', `HF_ENDPOINT is ${url}, which is not an address of the web`);
  }
  const seconds = Number(timeout);
  return {
    endpoint: url.replace(/\/+$/, ''),
    patience: seconds > 0 ? seconds * 1000 : 30_000,
    firstWait: 500,
    ...(token?.trim() && { token: token.trim() }),
    ...(signal && { signal }),
  };
}

/** As huggingface_hub reads it. */
export function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
}

/** A failure that may pass by itself. */
class Passing extends Error {
  readonly error: IngotError;
  readonly waitSeconds: number | undefined;

  constructor(error: IngotError, waitSeconds?: number) {
    super(error.message);
    this.error = error;
    this.waitSeconds = waitSeconds;
  }
}

/** For a caller that finds out by itself that an answer is worth another try. */
export function passing(error: IngotError): Error {
  return new Passing(error);
}

/**
 * Does `work` until it succeeds, a few times; `progressed` says that an attempt got somewhere, so that the count begins again.
 * @throws IngotError: what the last attempt met.
 */
export async function withAttempts<T>(hub: Hub, work: () => Promise<T>, progressed?: () => boolean): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfAborted(hub.signal);
    try {
      return await work();
    } catch (error) {
      throwIfAborted(hub.signal);
      if (!(error instanceof Passing)) throw error;
      failures = progressed?.() ? 1 : failures + 1;
      if (failures >= attempts || (error.waitSeconds ?? 0) > maxWaitSeconds) throw error.error;
      const wait = error.waitSeconds === undefined ? hub.firstWait * 2 ** (failures - 1) : error.waitSeconds * 1000;
      // Most of what fails once is well at once, and nobody need know.
      if (failures > 1) hub.onNotice?.(`${error.message}; it is tried again`);
      // An abort is looked at above.
      await sleep(wait, undefined, hub.signal && { signal: hub.signal }).catch(() => {});
    }
  }
}

/** A successful answer whose body has not been read. Disposing of it ends the connection. */
export interface Answer extends Disposable {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from in the end. */
  readonly url: string;
  /** Fails, and may be tried again, where nothing comes for too long or the connection breaks. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
}

/** @throws IngotError 'FileNotFound', 'FileAccess', 'Network'; what `withAttempts` takes care of. */
export async function ask(hub: Hub, address: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  hub.signal?.addEventListener('abort', stop, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const watch = () => {
    clearTimeout(timer);
    timer = setTimeout(stop, hub.patience);
  };
  const close = () => {
    clearTimeout(timer);
    hub.signal?.removeEventListener('abort', stop);
    controller.abort();
  };
  const failed = (error: unknown, url: string): unknown => {
    const how = controller.signal.aborted ? `nothing came for ${hub.patience / 1000} s` : reasonOf(error);
    close();
    if (error instanceof IngotError || error instanceof Passing) return error;
    return new Passing(networkError(`${hostOf(url)}: ${how}`, error));
  };

  let url = address;
  try {
    for (let hops = 0; ; hops++) {
      watch();
      const response = await fetch(url, {
        headers: headersFor(hub, url, headers),
        redirect: 'manual',
        signal: controller.signal,
      });
      const location = response.headers.get('location');
      if (response.status >= 300 && response.status < 400 && location !== null) {
        await response.body?.cancel();
        if (hops === maxRedirects) throw networkError(`${hostOf(url)} redirects more than ${maxRedirects} times`);
        url = redirected(url, location);
        continue;
      }
      if (!response.ok) throw refusal(hub, url, response);
      return {
        status: response.status,
        headers: response.headers,
        url,
        async *chunks() {
          try {
            watch();
            for await (const chunk of response.body ?? []) {
              // Only the other side's time counts.
              clearTimeout(timer);
              yield chunk;
              watch();
            }
          } catch (error) {
            throw failed(error, url);
          } finally {
            clearTimeout(timer);
          }
        },
        [Symbol.dispose]: close,
      };
    }
  } catch (error) {
    throw failed(error, url);
  }
}

function headersFor(hub: Hub, url: string, headers: Readonly<Record<string, string>>): Record<string, string> {
  // Contents are counted and hashed as they are.
  const plain = { 'user-agent': 'ingot', 'accept-encoding': 'identity', ...headers };
  if (hub.token === undefined || new URL(url).origin !== new URL(hub.endpoint).origin) return plain;
  return { ...plain, authorization: `Bearer ${hub.token}` };
}

function redirected(from: string, location: string): string {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const safe = to?.protocol === 'https:' || (to?.protocol === 'http:' && new URL(from).protocol === 'http:');
  if (to === undefined || !safe) throw networkError(`${hostOf(from)} redirects to ${location.slice(0, 80)}`);
  return to.href;
}

function refusal(hub: Hub, url: string, { status, headers }: Response): IngotError | Passing {
  const atHub = new URL(url).origin === new URL(hub.endpoint).origin;
  // Signed addresses have their secret after the question mark.
  const [path] = url.split('?');
  const said = headers.get('x-error-message')?.slice(0, 200);
  const message = `${hostOf(url)} answers ${status}${said ? `: ${said}` : ''}`;
  if (status === 401 || status === 403) {
    const error = new IngotError('FileAccess', message, {
      path,
      hint: hub.token
        ? 'the token in HF_TOKEN may not read this; the name may be wrong, or conditions have to be accepted on its page'
        : 'the name may be wrong; for what is private or gated, accept its conditions on its page and set HF_TOKEN',
    });
    // A signed address of another host that ran out: the hub gives a new one.
    return atHub ? error : new Passing(error);
  }
  if (status === 404 || status === 410) {
    return new IngotError('FileNotFound', message, { path, hint: 'check the name, and HF_ENDPOINT if it is set' });
  }
  const error = networkError(message);
  if (status !== 408 && status !== 429 && status < 500) return error;
  const wait = Number(headers.get('retry-after') ?? Number.NaN);
  return wait >= 0 ? new Passing(error, wait) : new Passing(error);
}

export function networkError(message: string, cause?: unknown): IngotError {
  return new IngotError('Network', message, {
    hint: 'try again later: what was fetched is kept; --offline uses only that',
    ...(cause !== undefined && { cause }),
  });
}

function hostOf(url: string): string {
  return new URL(url).host;
}

/** Node says "fetch failed" or "terminated", and why in the causes. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause !== undefined) return reasonOf(error.cause);
  const [first] = error instanceof AggregateError ? error.errors : [];
  return first === undefined ? error.message : reasonOf(first);
}
