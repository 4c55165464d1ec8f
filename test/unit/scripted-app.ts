/** The HTTP API in front of an engine that says what was written down for it. */
import { pino } from 'pino';
import { createApp } from '../../src/server/app.ts';
import { Models } from '../../src/server/models.ts';
import { ScriptedEngine } from './scripted-engine.ts';

export function scriptedApp(...script: ConstructorParameters<typeof ScriptedEngine>) {
  const engine = new ScriptedEngine(...script);
  const models = new Models([{ name: 'scripted', bytes: 0, open: async () => engine }]);
  const app = createApp({ models, log: pino({ level: 'silent' }) });
  return {
    prompts: engine.prompts,
    /** As `fetch` of a client. */
    fetch: async (url: string | URL | Request, init?: RequestInit) => app.fetch(new Request(url, init)),
  };
}
