/** Templates that mean harm, and templates that are broken at random: an error with a code or a text, soon, and never much. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { renderChat } from '../../src/tokenizer/chat.ts';
import { fixtures } from '../fixtures.ts';
import { processorTime } from './processor-time.ts';

/** Milliseconds that a template may take. */
const DEADLINE = 10_000;
const MAX_TEXT = 1 << 25;

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'aaaaaaaaaaaaaaaa 🦙 <think>b</think>' },
];

/** What became of a template: its text, or the code of its error. */
function outcome(template: string): { readonly text?: string; readonly code?: string } {
  const begin = processorTime();
  try {
    const text = renderChat(template, messages, { addGenerationPrompt: true, tools: [{ name: 'f' }] });
    assert.ok(text.length <= MAX_TEXT, `${text.length} characters: ${template.slice(0, 500)}`);
    return { text };
  } catch (error) {
    assert.ok(isIngotError(error), `${error}: ${template.slice(0, 500)}`);
    return { code: error.code };
  } finally {
    const took = processorTime() - begin;
    assert.ok(took < DEADLINE, `${took.toFixed(0)} ms: ${template.slice(0, 500)}`);
  }
}

const repeat = (times: number, body: string) => `{% for i in range(${times}) %}${body}{% endfor %}`;
const doubled = (what: string, join: string) =>
  `{% set n = namespace(x=${what}) %}${repeat(60, `{% set n.x = ${join} %}`)}`;
const big = doubled("'a'", 'n.x ~ n.x').replace('60', '20');

const hostile: Readonly<Record<string, string>> = {
  'loops in loops': repeat(100000, repeat(100000, repeat(100000, 'x'))),
  'loops that print nothing': repeat(100000, repeat(100000, '')),
  'ranges in ranges': repeat(100000, '{% set x = range(100000) %}'),
  'a text that doubles': doubled("'a'", 'n.x ~ n.x'),
  'a text that doubles with +': doubled("'a'", 'n.x + n.x'),
  'a list that doubles': doubled('[1]', 'n.x + n.x'),
  'a list of lists, printed': `${doubled('[1]', '[n.x, n.x]')}{{ n.x }}`,
  'a list of lists, as JSON': `${doubled('[1]', '[n.x, n.x]')}{{ n.x|tojson(indent=3) }}`,
  'mappings of mappings, compared': `${doubled('{}', "{'a': n.x, 'b': n.x}")}{{ n.x == {'a': n.x, 'b': n.x} }}`,
  'a list that holds itself': '{% set n = namespace() %}{% set n.x = [n] %}{{ n.x|tojson }}{{ n.x }}',
  'many times a text': "{{ 'a' * 1000000000000 }}",
  'many times a list': '{{ [[]] * 1000000000 }}',
  'a long text replaced by long ones': `${big}{{ n.x.replace('a', n.x)|length }}`,
  'nothing replaced by much': `${big}{{ n.x|replace('', n.x) }}`,
  'a long text sought in a long one': `${big}{{ (n.x ~ 'b') in (n.x ~ n.x) }}${repeat(1000, "{{ (n.x ~ 'b') in (n.x ~ n.x) }}")}`,
  'a long text split at long ones': `${big}${repeat(1000, "{{ n.x.split('aaaaaaaaaaab')|length }}")}`,
  'a long separator': `${big}{{ range(100000)|join(n.x) }}`,
  'a method that joins': `${big}{{ n.x.join(n.x|list)|length }}`,
  'an indentation': "{{ 'a\nb'|indent(100000000000) }}",
  'an indentation of JSON': '{{ [[[1]]]|tojson(indent=1000000000000) }}',
  'a sorted list of long texts': `${big}{{ ([n.x] * 100000)|sort|length }}`,
  'a list without doubles': '{{ range(100000)|unique|list|length }}',
  'a macro that calls itself': '{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}',
  'a caller that calls':
    '{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% call f() %}x{% endcall %}{% endcall %}',
  'many brackets': `{{ ${'('.repeat(50000)}1${')'.repeat(50000)} }}`,
  'many lists': `{{ ${'['.repeat(50000)}${']'.repeat(50000)} }}`,
  'many negations': `{{ ${'not '.repeat(50000)}1 }}`,
  'many additions': `{{ ${'1 + '.repeat(50000)}1 }}`,
  'many ifs': '{% if true %}'.repeat(10000) + '{% endif %}'.repeat(10000),
  'many filters': `{{ x${'|trim'.repeat(40000)} }}`,
  'a run of space': `{{ 1 }}${' '.repeat(200000)}{{ 2 }}`,
  'runs of space': `{{ 1 }}${`${' '.repeat(490)}x`.repeat(530)}`,
  'a long template': 'x'.repeat(1 << 20),
  'a power': '{{ 9 ** 9 ** 9 ** 9 }}',
  'a wide number': '{{ 99999999999999999999999999999999 }}',
  'other files': "{% include '/etc/passwd' %}",
  'other modules': "{% import 'os' as os %}",
  'the constructor': "{{ messages.constructor }}{{ ''['constructor']['constructor']('return process')() }}",
  'the prototype': '{{ namespace.__proto__ }}{{ [].__class__.__mro__ }}',
  'names of objects': "{{ 'a'|constructor }}{{ 'a' is hasOwnProperty }}",
};

for (const [name, template] of Object.entries(hostile)) {
  test(`a hostile template ends: ${name}`, () => {
    const { text = '', code } = outcome(template);
    assert.ok(code !== undefined || text.length < 1 << 21, `${text.length} characters`);
    assert.doesNotMatch(text, /root:|function|\[object/);
  });
}

test('what is large in the messages is paid for by them', () => {
  const content = 'word '.repeat(400_000);
  const template = "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim + '</>' }}{% endfor %}";
  const text = renderChat(template, [{ role: 'user', content }]);
  assert.equal(text.length, '<user>'.length + content.length - 1 + '</>'.length);
});

/** A linear congruential generator (Numerical Recipes). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const pieces =
  "{{ }} {% %} {%- -%} {# #} for in if else endif endfor set endset macro endmacro call endcall filter range(99999) namespace() messages tools loop.index [::-1] [0] |tojson(indent=4) |join |list |sort |upper .split('a') .replace('a', 'aaaa') ~ + * ** // % == not is defined 'a' \"b\" 9999999 -1 0.5 , : ( ) [ ] { } | . {'a': [1]} break continue x = *x **x".split(
    ' ',
  );

test('mutated templates end in a text or an error with a code', () => {
  const { goldens } = JSON.parse(readFileSync(`${fixtures('models')}/chat-goldens.json`, 'utf8'));
  const corpus: readonly string[] = [
    ...Object.values(hostile).filter((template) => template.length < 2000),
    ...goldens.flatMap(({ snippet }: { snippet?: string }) => (snippet === undefined ? [] : [snippet])),
  ];
  const next = random(20261127);
  let rendered = 0;
  for (let i = 0; i < 1500; i++) {
    let template = corpus[next(corpus.length)];
    for (let edits = 1 + next(4); edits > 0; edits--) {
      const at = next(template.length + 1);
      const end = at + (next(2) === 0 ? 0 : next(12));
      const other = corpus[next(corpus.length)];
      const from = next(other.length);
      const inserted = next(3) === 0 ? other.slice(from, from + next(40)) : ` ${pieces[next(pieces.length)]} `;
      template = template.slice(0, at) + (next(4) === 0 ? '' : inserted) + template.slice(end);
    }
    if (outcome(template).text !== undefined) rendered++;
  }
  assert.ok(rendered > 100, `only ${rendered} could be rendered`);
});
