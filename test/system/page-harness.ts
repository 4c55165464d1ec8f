/** A headless Chromium that reaches one server and nothing else, and answers that a test wrote itself. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { repositoryPath } from '../fixtures.ts';

/** The shell is the same engine without a window, at half the time. */
const places = ['chromium-headless-shell', 'chromium', 'google-chrome'].map((name) => `/usr/bin/${name}`);
const executablePath = process.env.INGOT_CHROMIUM ?? places.find((path) => existsSync(path));

export const skipWithoutBrowser =
  executablePath === undefined &&
  'no Chromium is installed (scripts/setup-tests.sh does that), and INGOT_CHROMIUM names none';

/** The page as it is now. */
export function buildPage(): void {
  const vite = repositoryPath('node_modules', 'vite', 'bin', 'vite.js');
  execFileSync(process.execPath, [vite, 'build', '--logLevel', 'warn'], { cwd: repositoryPath(), stdio: 'inherit' });
}

export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    // No name is looked up, so a page that asks for anything elsewhere fails, and `requested` says what it was.
    args: ['--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-dev-shm-usage'],
  });
}

/** A page that a person looks at, with all that it asked for and all that went wrong in it. */
export interface Visit {
  readonly page: Page;
  readonly requested: readonly string[];
  readonly errors: readonly string[];
}

export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    reducedMotion: 'reduce',
    ...options,
  });
  // Nothing takes so long: it ends what hangs.
  context.setDefaultTimeout(120_000);
  const visited = watch(await context.newPage());
  await visited.page.goto(url);
  return visited;
}

function watch(page: Page): Visit {
  const requested: string[] = [];
  const errors: string[] = [];
  page.on('request', (request) => requested.push(request.url()));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    // Answers of other statuses are part of some tests.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      errors.push(message.text());
  });
  return { page, requested, errors };
}

export async function send(page: Page, text: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

interface Delta {
  readonly content?: string;
  readonly reasoning_content?: string;
}

/** The next answers of the server are these. */
export async function script(page: Page, ...deltas: readonly Delta[]): Promise<void> {
  const chunks: object[] = deltas.map((delta) => ({ choices: [{ index: 0, delta, finish_reason: null }] }));
  chunks.push({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  const body = [...chunks.map((chunk) => JSON.stringify(chunk)), '[DONE]'].map((data) => `data: ${data}\n\n`).join('');
  await page.route('**/v1/chat/completions', (route) =>
    route.fulfill({ status: 200, contentType: 'text/event-stream', body }),
  );
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What breaks the rules of WCAG 2.2 AA, as axe-core sees it: rule and place. */
export async function wrongForSomebody(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe);
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  return page.evaluate(async (values) => {
    const { axe } = globalThis as unknown as { axe: { run(options: object): Promise<AxeResults> } };
    const { violations } = await axe.run({ runOnly: { type: 'tag', values } });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  }, tags);
}

interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[];
}
