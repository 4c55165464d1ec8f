/** The page of `ingot serve` as people use it: the real server on the bundled model, in a real browser that reaches nothing else. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import {
  buildPage,
  openBrowser,
  script,
  send,
  skipWithoutBrowser,
  type Visit,
  visit,
  wrongForSomebody,
} from './page-harness.ts';
import { readMetrics, type Server, startServer } from './serve-harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-page-'));
const skip = skipWithoutBrowser;
let browser: Browser;
let server: Server;

before(async () => {
  if (skip) return;
  buildPage();
  // The interpreter: answers take long enough to be seen, and stopped, in the middle.
  const slowly = ['--device', 'reference'];
  [browser, server] = await Promise.all([openBrowser(), startServer({ folder }, '--sequences', '8', ...slowly)]);
});
after(async () => {
  if (!skip) {
    await browser.close();
    await server[Symbol.asyncDispose]();
  }
  rmSync(folder, { recursive: true });
});

/** Longer than a block of the cache. */
const story = 'Tell a story about a dragon who lived in a cave near the sea and wanted to find a friend';
const answers = (page: Page) => page.getByRole('article').filter({ has: page.getByRole('heading', { name: 'tales' }) });
const lastText = (page: Page) => page.locator('.answer .prose').last().innerText();
const figures = (page: Page) => page.getByRole('list', { name: 'What this answer took' }).last();
/** Settles when the last answer has ended. */
const ended = (page: Page) => page.getByRole('button', { name: 'Send' }).waitFor();
const begun = (page: Page) =>
  page
    .locator('.answer .prose')
    .last()
    .filter({ hasText: /\w+ \w+/ })
    .waitFor();

/** Settles when the server computes nothing any more. */
async function idle(url: string, headers: Record<string, string> = {}): Promise<void> {
  while ((await readMetrics(url, headers))('ingot_requests_running') !== 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function close({ page, requested, errors }: Visit): Promise<void> {
  await page.context().close();
  assert.deepEqual(errors, []);
  assert.ok(requested.length > 3);
  for (const url of requested) assert.ok(/^http:\/\/127\.0\.0\.1:\d+\//.test(url), `it asked for ${url}`);
}

test('a chat: the answer streams, says what it took, and the next one finds the beginning in the cache', {
  skip,
}, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  await page.getByLabel('Seed').fill('5');
  await page.getByLabel('Longest answer').fill('100');
  await page.getByLabel('System prompt').fill('You tell stories.');
  const asked = page.waitForRequest('**/v1/chat/completions');
  await send(page, story);
  const { temperature, top_k, min_p, top_p, seed, messages, stream } = (await asked).postDataJSON();
  assert.deepEqual(
    { temperature, top_k, min_p, top_p, seed },
    { temperature: 0.8, top_k: 40, min_p: 0.05, top_p: 0.95, seed: 5 },
  );
  assert.equal(stream, true);
  assert.deepEqual(messages, [
    { role: 'system', content: 'You tell stories.' },
    { role: 'user', content: story },
  ]);
  await begun(page);
  const early = await lastText(page);
  await ended(page);
  const whole = await lastText(page);
  assert.ok(whole.length > early.length, 'it came at once, or stopped');
  assert.match(
    await figures(page).innerText(),
    /tokens\/s[\s\S]*first after[\s\S]*\d+ tokens[\s\S]*0 of \d+ prompt tokens from cache/,
  );
  await page.getByRole('button', { name: 'Answer again' }).click();
  await ended(page);
  assert.equal(await lastText(page), whole, 'the same seed gives the same text');
  assert.match(await figures(page).innerText(), /[1-9]\d* of \d+ prompt tokens from cache/);
  assert.match(await page.locator('.versions').innerText(), /2[\s\S]*2/);

  const panel = page.getByRole('region', { name: 'Server' });
  await panel.getByText(/% remembered/).waitFor();
  await panel.getByText(/\d (ms|s)$/).waitFor();
  // A line needs two moments.
  await panel.locator('.sparkline polyline').waitFor({ state: 'attached' });
  await close(visited);
});

test('stop: Escape ends the answer in the middle, and the server is free again', { skip }, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  await page.getByLabel('Seed').fill('11');
  await page.getByLabel('Longest answer').fill('100');
  await send(page, story);
  await begun(page);
  await page.keyboard.press('Escape');
  await figures(page).getByText('Stopped').waitFor();
  const part = await lastText(page);
  await idle(server.url);
  await page.getByRole('button', { name: 'Answer again' }).click();
  await begun(page);
  await page.getByRole('button', { name: 'Stop' }).click();
  await figures(page).getByText('Stopped').waitFor();
  await page.getByRole('button', { name: 'Answer again' }).click();
  await ended(page);
  const whole = await lastText(page);
  assert.ok(whole.startsWith(part.trim()) && whole.length > part.length, `${part}\n\n${whole}`);
  await close(visited);
});

test('an edited message is asked beside the old one, and both can be shown', { skip }, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  await script(page, { content: 'An answer.' });
  await send(page, 'First');
  await ended(page);
  await send(page, 'Second');
  await ended(page);
  // An empty field and the arrow: the last message.
  await page.keyboard.press('ArrowUp');
  await page.getByRole('textbox', { name: 'Edit message' }).fill('Another second');
  const asked = page.waitForRequest('**/v1/chat/completions');
  await page.keyboard.press('Enter');
  assert.deepEqual((await asked).postDataJSON().messages, [
    { role: 'user', content: 'First' },
    { role: 'assistant', content: 'An answer.' },
    { role: 'user', content: 'Another second' },
  ]);
  await ended(page);
  const questions = page.locator('.question .bubble');
  assert.deepEqual(await questions.allInnerTexts(), ['First', 'Another second']);
  await page.getByRole('button', { name: 'Previous version' }).click();
  await questions.getByText('Second', { exact: true }).waitFor();
  assert.deepEqual(await questions.allInnerTexts(), ['First', 'Second']);
  await close(visited);
});

test('a reload keeps everything; one in the middle of an answer keeps what had come', { skip }, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  await page.getByLabel('Longest answer').fill('12');
  await send(page, story);
  await ended(page);
  await figures(page).getByText('Longest length reached').waitFor();
  const text = await lastText(page);
  await page.reload();
  assert.equal(await lastText(page), text);
  assert.equal(await page.getByLabel('Longest answer').inputValue(), '12');
  await page.getByLabel('Longest answer').fill('');
  await send(page, 'And then?');
  await begun(page);
  await page.reload();
  await figures(page).getByText('Stopped').waitFor();
  assert.ok((await lastText(page)).length > 0);
  assert.equal(await answers(page).count(), 2);
  await page.getByRole('button', { name: 'New conversation' }).click();
  await page.getByRole('heading', { name: 'What shall we talk about?' }).waitFor();
  assert.equal(await answers(page).count(), 0);
  await page.goBack();
  await answers(page).nth(1).waitFor();
  assert.equal(await answers(page).count(), 2);
  await close(visited);
});

test('two tabs at once: each sees what the other writes, and none destroys anything', { skip }, async () => {
  const visited = await visit(browser, server.url);
  const { page: one } = visited;
  await one.getByLabel('Longest answer').fill('30');
  await send(one, 'From the first tab');
  await ended(one);
  const two = await one.context().newPage();
  await two.goto(one.url());
  await Promise.all([send(one, 'One goes on'), send(two, 'Two goes on')]);
  await Promise.all([ended(one), ended(two)]);
  await two.getByRole('button', { name: 'New conversation' }).click();
  await send(two, 'From the second tab');
  await ended(two);
  const titles = (page: Page) => page.getByRole('navigation').getByRole('link').allInnerTexts();
  const both = one.getByRole('navigation').getByRole('link', { name: 'From the second tab' });
  await both.waitFor();
  // Whatever order the writes took, storage ends with all that was said: one after the other, or as two versions.
  await one.waitForFunction(
    `['One goes on', 'Two goes on'].every((text) => JSON.stringify(localStorage).includes(text))`,
  );
  await one.reload();
  const said = (await titles(one)).filter((title) => !/^(One|Two) goes on$/.test(title));
  assert.deepEqual(said, ['From the second tab', 'From the first tab']);
  await one.getByRole('link', { name: 'From the second tab' }).hover();
  await one.getByRole('button', { name: 'Delete From the second tab' }).click();
  await two.getByRole('heading', { name: 'What shall we talk about?' }).waitFor();
  await one.getByRole('button', { name: 'Undo' }).click();
  await two.getByRole('link', { name: 'From the second tab' }).waitFor();
  await close(visited);
});

test('errors, as a person would want them: a key, a queue that is full, a server that is gone; each with another try', {
  skip,
}, async () => {
  const options = ['--api-key', 'sesame', '--sequences', '1', '--queue', '0', '--device', 'reference'];
  await using guarded = await startServer({ folder }, ...options);
  const visited = await visit(browser, guarded.url);
  const { page } = visited;
  await page.getByRole('heading', { name: 'This server asks for an API key' }).waitFor();
  assert.deepEqual(await wrongForSomebody(page), []);
  await page.getByLabel('API key').fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByText('The server does not know this key.').waitFor();
  await page.getByLabel('API key').fill('sesame');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'What shall we talk about?' }).waitFor();

  // Somebody else has the only place.
  const headers = { Authorization: 'Bearer sesame' };
  const controller = new AbortController();
  const other = await fetch(`${guarded.url}/v1/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ prompt: 'A', stream: true, max_tokens: 500, ignore_eos: true }),
    signal: controller.signal,
  });
  await send(page, 'Hello');
  const busy = page.getByRole('alert').filter({ hasText: 'The server is busy' });
  await busy.waitFor();
  await page
    .getByRole('region', { name: 'Server' })
    .getByText(/^Running1$/)
    .waitFor();
  controller.abort();
  await other.text().catch(() => {});
  await idle(guarded.url, headers);
  const retry = page.getByRole('button', { name: 'Try again' });
  await retry.click();
  await begun(page);
  await page.keyboard.press('Escape');
  await ended(page);

  guarded.child.kill('SIGKILL');
  await guarded.ended;
  await send(page, 'Are you there?');
  await page.getByRole('alert').filter({ hasText: 'The server cannot be reached' }).waitFor();
  assert.deepEqual(await wrongForSomebody(page), []);
  await page.getByRole('region', { name: 'Server' }).getByText('not live').waitFor();
  const { port } = new URL(guarded.url);
  await using _again = await startServer({ folder }, ...options, '--port', port);
  await retry.click();
  await begun(page);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Forget' }).click();
  await send(page, 'Hello');
  await page.getByRole('alert').filter({ hasText: 'This server asks for an API key' }).waitFor();
  await close(visited);
});

test('what models and people write stays text; thoughts are folded away', { skip }, async () => {
  const attack = '<img src=x onerror="document.title=1"><script>document.title=2</script><svg onload=document.title=3>';
  const visited = await visit(browser, server.url);
  const { page } = visited;
  const links =
    '[a](javascript:document.title=4) [b](data:text/html,x) [c](https://example.org/) ![d](https://example.org/d.png)';
  await script(
    page,
    { reasoning_content: `Let me think. ${attack}` },
    { content: `${attack}\n\n` },
    {
      content: `${links}\n\n- **bold** &lt;i&gt; \`<b>\`\n\n\`\`\`html\n${attack}\n\`\`\`\n\n${'> '.repeat(4000)}deep`,
    },
  );
  await send(page, attack);
  await ended(page);
  const prose = page.locator('.answer > .prose');
  assert.equal(await page.locator('.bubble').innerText(), attack);
  assert.ok((await prose.innerText()).includes(attack));
  assert.equal(await page.locator('main img, main script, main svg[onload], main iframe').count(), 0);
  const thoughts = page.locator('.reasoning .prose');
  assert.ok(!(await thoughts.isVisible()));
  await page.getByText('Thought', { exact: true }).click();
  assert.ok((await thoughts.innerText()).includes(attack));
  assert.equal(await page.title(), `${attack.slice(0, 80)} – Ingot`, 'a title is text, too');
  await script(page, { content: `${links}\n\n**bold** &lt;i&gt; \`<b>\`\n\n| a | b |\n|---|--:|\n| 1 | 2 |` });
  await send(page, 'Again');
  await ended(page);
  const hrefs = await prose
    .last()
    .locator('a')
    .evaluateAll((all) => all.map((a) => (a as unknown as { href: string }).href));
  assert.deepEqual(hrefs, ['https://example.org/', 'https://example.org/d.png']);
  assert.match(await prose.last().innerText(), /bold <i> <b>/);
  assert.equal(await prose.last().locator('td').count(), 2);
  const policy = (await fetch(server.url)).headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'; script-src 'self'/);
  assert.ok(!/unsafe/.test(policy));
  await close(visited);
});

test('by keyboard alone: everything is reached, seen where it is, and left again', { skip }, async () => {
  const visited = await visit(browser, server.url, { viewport: { width: 700, height: 700 } });
  const { page } = visited;
  await script(page, { content: 'Short.' });
  const focused = () =>
    page.evaluate<string>(`document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent`);
  await page.getByRole('textbox', { name: 'Message', exact: true }).and(page.locator(':focus')).waitFor();
  await page.keyboard.type('One');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await ended(page);
  assert.equal(await page.locator('.bubble').innerText(), 'One\ntwo');
  const seen: string[] = [];
  while (!seen.includes('Message')) {
    await page.keyboard.press('Tab');
    // Between its end and its beginning the browser's own controls have the focus.
    if (await page.evaluate('document.activeElement === document.body')) continue;
    const name = await focused();
    seen.push(name);
    // The field for messages shows it by its border.
    const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
    assert.ok(outline === 'solid' || name === 'Message', `${name} is not seen to have the focus`);
  }
  for (const name of [
    'Conversations',
    'New conversation',
    'Settings and server',
    'Edit message',
    'Copy answer',
    'Answer again',
  ]) {
    assert.ok(seen.includes(name), `${name} is not reached: ${seen.join(', ')}`);
  }
  await page.getByRole('button', { name: 'Settings and server' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Close settings and server' }).and(page.locator(':focus')).waitFor();
  const temperature = page.getByRole('slider', { name: 'Temperature' });
  await temperature.focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await temperature.inputValue(), '0.85');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Settings and server' }).and(page.locator(':focus')).waitFor();
  await temperature.waitFor({ state: 'hidden' });
  await close(visited);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`a phone in ${colorScheme} colours: nothing scrolls sideways, and nobody is shut out`, { skip }, async () => {
    const viewport = { width: 320, height: 640 };
    const visited = await visit(browser, server.url, { colorScheme, viewport, hasTouch: true, isMobile: true });
    const { page } = visited;
    const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    assert.equal(ground, colorScheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(22, 22, 23)');
    assert.deepEqual(await wrongForSomebody(page), []);
    const wide = 'wide '.repeat(30);
    await script(
      page,
      { reasoning_content: 'Hm.' },
      { content: `# ${'long'.repeat(30)}\n\n\`\`\`\n${wide}\n\`\`\`\n\n| ${wide} | b |\n|-|-|\n| ${wide} | ${wide} |` },
    );
    await send(page, 'x'.repeat(200));
    await ended(page);
    const overflow = () =>
      page.evaluate(`[document.documentElement, ...document.querySelectorAll('.thread, .column')]
        .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.className)`);
    assert.deepEqual(await overflow(), []);
    assert.deepEqual(await wrongForSomebody(page), []);
    for (const name of ['Conversations', 'Settings and server']) {
      await page.getByRole('button', { name, exact: true }).click();
      await page.getByRole('button', { name: `Close ${name.toLowerCase()}` }).waitFor();
      // Colours in the middle of coming in are not those to judge.
      await page.evaluate('Promise.all(document.getAnimations().map(({ finished }) => finished))');
      assert.deepEqual(await overflow(), []);
      assert.deepEqual(await wrongForSomebody(page), []);
      await page.getByRole('button', { name: `Close ${name.toLowerCase()}` }).click();
    }
    await close(visited);
  });
}

test('an address that nobody gave out is a new conversation; numbers that are kept from the page are not asked for all the time', {
  skip,
}, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  let asked = 0;
  await page.route('**/metrics', (route) => {
    asked++;
    return route.fulfill({ status: 403, contentType: 'application/json', body: '{"error": {"message": "no"}}' });
  });
  await page.goto(`${server.url}/#%E0%A4`);
  await page.reload();
  await page.getByRole('heading', { name: 'What shall we talk about?' }).waitFor();
  assert.equal(await page.title(), 'Ingot');
  await page.getByText('The server does not show its numbers here.').waitFor();
  asked = 0;
  await page.waitForTimeout(1500);
  assert.equal(asked, 0);
  await script(page, { content: 'Short.' });
  await send(page, 'A fox');
  await ended(page);
  assert.equal(await page.title(), 'A fox – Ingot', 'tabs and history tell conversations apart');
  await close(visited);
});

test('a browser that is full keeps what is there, and says so', { skip }, async () => {
  const visited = await visit(browser, server.url);
  const { page } = visited;
  await script(page, { content: 'Short.' });
  await page.evaluate(`for (let size = 4 << 20; size >= 1; size >>= 1) {
    try { for (let i = 0; ; i++) localStorage.setItem('full' + size + '.' + i, 'x'.repeat(size)); } catch {}
  }`);
  await send(page, 'Hello');
  await page.getByRole('alert').filter({ hasText: 'no more room' }).waitFor();
  await ended(page);
  assert.equal(await lastText(page), 'Short.');
  await close(visited);
});
