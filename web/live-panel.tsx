/** What the server does now, for everybody who uses it. */
import { useEffect } from 'preact/hooks';
import type { Failure } from './failure.ts';
import { decimal, seconds, whole } from './figures.ts';
import { isRefused, liveFailure, meanFirst, readings, speeds, watchServer } from './live.ts';
import { apiKey } from './store.ts';

export function LivePanel() {
  // Another key may be shown more.
  useEffect(watchServer, [apiKey.value]);
  const { value: list } = readings;
  const { value: failure } = liveFailure;
  const now = list.at(-1);
  const first = meanFirst(list);
  const speed = speeds(list);
  return (
    <section class="group live" aria-labelledby="server">
      <div class="title">
        <h2 id="server">Server</h2>
        <span class="lamp" data-state={failure === undefined ? 'on' : 'off'}>
          {failure === undefined ? 'live' : 'not live'}
        </span>
      </div>
      {failure !== undefined && <p class="note">{said(failure)}</p>}
      <dl>
        <div class="main">
          <dt>Tokens a second</dt>
          <dd>
            {now === undefined ? '–' : decimal(speed.at(-1) ?? 0)}
            <Sparkline values={speed} />
          </dd>
        </div>
        <div>
          <dt>First token</dt>
          <dd title="Mean of the last minute">{first === undefined ? '–' : seconds(first)}</dd>
        </div>
        <div>
          <dt>Running</dt>
          <dd>{whole(now?.running ?? 0)}</dd>
        </div>
        <div>
          <dt>Waiting</dt>
          <dd>{whole(now?.waiting ?? 0)}</dd>
        </div>
        {now !== undefined && <Cache {...now.cache} />}
      </dl>
    </section>
  );
}

const said = (failure: Failure): string =>
  isRefused(failure) ? 'The server does not show its numbers here.' : `${failure.title}.`;

const [width, height] = [120, 28];

/** The last minute, one second after the other, the newest at the right. */
function Sparkline({ values }: { readonly values: readonly number[] }) {
  const high = Math.max(1, ...values);
  const x = (i: number) => width - (values.length - 1 - i) * (width / 59);
  const y = (value: number) => height - 1 - (value / high) * (height - 2);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      {values.length > 1 && <polygon points={`${x(0).toFixed(1)},${height} ${points} ${width},${height}`} />}
      {values.length > 1 && <polyline points={points} />}
    </svg>
  );
}

interface CacheProps {
  readonly used: number;
  readonly known: number;
  readonly capacity: number;
}

/** Tokens that requests use, and those that prompts may begin with, of all that the cache holds. */
function Cache({ used, known, capacity }: CacheProps) {
  const share = (tokens: number) => (capacity === 0 ? 0 : (tokens / capacity) * 100);
  return (
    <div class="cache">
      <dt>KV cache</dt>
      <dd>
        {decimal(share(used))}% in use, {decimal(share(known))}% remembered
        <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
          <rect class="all" width="100" height="4" />
          <rect class="known" width={share(used + known)} height="4" />
          <rect class="used" width={share(used)} height="4" />
        </svg>
      </dd>
    </div>
  );
}
