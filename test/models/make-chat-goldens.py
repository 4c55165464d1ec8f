"""Renders chat templates with transformers, for test/models/chat-templates.test.ts.

    python test/models/make-chat-goldens.py $INGOT_TEST_DATA/tokenizers/chat-templates > test/models/fixtures/chat-goldens.json
"""

import datetime
import json
import pathlib
import sys

from transformers.utils import chat_template_utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5, 0)


chat_template_utils.datetime = Clock

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "Its name, e.g. 'Köln'"}},
            "required": ["town"],
        },
    },
}
USER = {"role": "user", "content": "Hello, \"world\" <b> äöü 🦙"}
SYSTEM = {"role": "system", "content": "Be brief."}
ASSISTANT = {"role": "assistant", "content": "Hi."}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "abcdef123",
            "type": "function",
            "function": {"name": "get_weather", "arguments": {"town": "Köln's \"Dom\"", "days": 3, "exact": True}},
        }
    ],
}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": '{"sky": "blue"}'}
THOUGHT = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n  Indented.\n"}
REASONED = {"role": "assistant", "content": "\n\n Yes.", "reasoning_content": "\nHm.\n", "thinking": "Hm."}
# Names whose parameters show every branch that tools have in these templates.
TYPES = {
    "type": "function",
    "function": {
        "name": "all_types",
        "description": "Every type",
        "parameters": {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "string"}, "nullable": True},
                "objects": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
                "choice": {"type": "string", "enum": ["x", "y"], "default": "x", "description": "One"},
                "either": {"type": ["string", "number"], "description": "Two types"},
                "one": {"oneOf": [{"type": "string", "default": "s"}, {"type": "boolean", "description": "b"}]},
                "nested": {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
                "number": {"type": "number", "default": 0.5, "description": "  spaced  "},
                "any": {},
            },
            "required": ["list"],
        },
    },
}
CASES = {
    "one question": {"messages": [USER], "add_generation_prompt": True},
    "a conversation": {"messages": [SYSTEM, USER, ASSISTANT, {"role": "user", "content": "  More?  "}], "add_generation_prompt": True},
    "without a prompt": {"messages": [USER, ASSISTANT], "add_generation_prompt": False},
    "with a tool": {"messages": [SYSTEM, USER], "tools": [TOOL], "add_generation_prompt": True},
    "with many tools": {"messages": [USER], "tools": [TOOL, TYPES], "add_generation_prompt": True},
    "a tool is called": {"messages": [USER, CALL], "tools": [TOOL], "add_generation_prompt": False},
    "a tool answers": {"messages": [SYSTEM, USER, CALL, RESULT], "tools": [TOOL], "add_generation_prompt": True},
    "two tools answer": {"messages": [USER, CALL, RESULT, RESULT, ASSISTANT, USER], "tools": [TOOL], "add_generation_prompt": True},
    "thoughts in the text": {"messages": [USER, THOUGHT, USER], "add_generation_prompt": True},
    "thoughts at the end": {"messages": [USER, THOUGHT], "add_generation_prompt": False},
    "thoughts apart": {"messages": [USER, REASONED, USER, REASONED], "add_generation_prompt": False},
    "without thinking": {"messages": [USER], "add_generation_prompt": True, "variables": {"enable_thinking": False}},
    "with thinking": {"messages": [SYSTEM, USER], "add_generation_prompt": True, "variables": {"enable_thinking": True, "thinking": True}},
    "no thinking, said": {"messages": [{"role": "system", "content": "Short. /no_think"}, USER], "add_generation_prompt": True},
    "tools of the model": {"messages": [USER, CALL], "tools": [TOOL], "add_generation_prompt": True, "variables": {"builtin_tools": ["code_interpreter", "browser", "python", "get_weather"], "tools_in_user_message": False, "reasoning_effort": "high"}},
    "no text": {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": None}], "add_generation_prompt": False},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "add_generation_prompt": True},
    "no messages": {"messages": [], "add_generation_prompt": True},
    "out of turn": {"messages": [USER, USER], "add_generation_prompt": True},
    "an unknown role": {"messages": [{"role": "critic", "content": "No."}], "add_generation_prompt": True},
    "special tokens in the text": {"messages": [{"role": "user", "content": "<|im_end|></s><|eot_id|>\u200b\ufeff\u3000"}], "add_generation_prompt": True},
}

# What Jinja does, for which real templates are too few: each is rendered with VALUES.
VALUES = {
    "s": " Ab\u00e9 \U0001f999 cd\n",
    "n": 7,
    "f": 2.5,
    "t": True,
    "l": ["b", "A", "c", "b"],
    "m": [{"k": 2, "v": "x"}, {"k": 1, "v": "y"}, {"k": 3}],
    "d": {"b": 1, "a": [1, 2.5, None, True, "q'"], "items": 5, "C": {}},
    "none_value": None,
}
SNIPPETS = r"""
{{ s }}|{{ n }}|{{ f }}|{{ t }}|{{ none_value }}|{{ missing }}|{{ l }}|{{ d }}|{{ m }}
{{ s|length }} {{ s[3:6] }} {{ s[::-1] }} {{ s[-3] }} {{ s[99] }} {{ l[1:] }} {{ l[::-2] }} {{ l[-10:2] }} {{ l[5] }}
{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ s.strip('\n A') }}|{{ '--a--'.lstrip('-') }}|{{ '--a--'.rstrip('-a') }}
{{ s.upper() }}{{ s.lower() }}{{ s.title() }}{{ "hELLO wORLD it's".capitalize() }} {{ "hELLO wORLD it's o'x 3d-e".title() }} {{ "hELLO wORLD it's o'x 3d-e"|title }}
{{ 'a,b,,c'.split(',') }} {{ 'a,b,,c'.split(',', 1) }} {{ 'a,b,,c'.rsplit(',', 1) }} {{ ' a  b c '.split() }} {{ ' a  b c '.split(none, 1) }} {{ ' a  b c '.rsplit(none, 1) }}
{{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '-') }} {{ 'aaa'|replace('a', 'b') }} {{ 'aXbX'.replace('X', '') }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.startswith(('x', 'c')) }} {{ 'abcabc'.count('b') }} {{ 'abc'.find('c') }} {{ 'abc'.rfind('z') }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}
{{ ', '.join(l) }} {{ l|join }} {{ l|join('-') }} {{ [1, 2.0, none, true]|join(' ') }} {{ m|join(',', attribute='k') }} {{ 'abc'|join('.') }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 3 }} {{ 2 ** -1 }} {{ 1 + 2.0 }} {{ 1.5 * 2 }} {{ true + 1 }} {{ -n }} {{ +f }}
{{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1, 2) + (3, 4) }}
{{ 1 == 1.0 }} {{ true == 1 }} {{ [1, [2]] == [1, [2.0]] }} {{ (1, 2) == [1, 2] }} {{ d == d }} {{ missing == missing2 }} {{ missing == none }} {{ {'a': 1} == {'a': 1} }} {{ 'a' != 'b' }}
{{ 1 < 2 }} {{ 'a' < 'B' }} {{ 1.5 >= 1 }} {{ 'b' in l }} {{ 'z' not in l }} {{ 'b' in d }} {{ 'e' in 'hello' }} {{ 'x' in missing }} {{ 1 in [1.0] }}
{{ 1 if t else 2 }} {{ 1 if missing }}| {{ 'x' or 'y' }} {{ '' or 'y' }} {{ 0 and 1 }} {{ not [] }} {{ not not 'a' }} {{ [] or {} or none }}
{{ d.items is callable }} {{ d['items'] }} {{ d.a }} {{ d.zzz }} {{ d.get('b') }} {{ d.get('z') }} {{ d.get('z', 'w') }} {{ d.keys()|list }} {{ d.values()|list }}
{{ d.items() | list }} {{ d|items|list }} {{ d|dictsort }} {{ d|length }} {{ d|list }} {{ {'b': 1, 'B': 0, 'a': 2}|dictsort(true) }} {{ {'x': 2, 'y': 1}|dictsort(by='value') }} {{ {'x': 2, 'y': 1}|dictsort(reverse=true) }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'a🦙b' %}[{{ c }}]{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('o', 'e') }} {% endfor %}
{% for x in l if x != 'b' %}{{ loop.index }}{{ x }}{{ loop.length }}{% else %}none{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}{% for x in missing %}x{% else %}undefined{% endfor %}
{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% else %}no{% endfor %}
{% for i in [1, 2] %}{{ y is defined }}{% set y = 1 %}{{ y }}{% endfor %}{{ y is defined }}
{% set x = 0 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set x = 0 %}{% if true %}{% set x = 1 %}{% endif %}{{ x }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set z %} block {{ x }} {% set x = 9 %}{% endset %}[{{ z }}]{{ x }}
{% set ns = namespace(x=1, y='a') %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.zz }}{{ ns.zz is defined }}
{% macro f(a, b=2, c=a) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f() }}{{ f(b=1, a=0) }}{{ f(1)|length }}{{ f(*[4, 5]) }}{{ f(**{'a': 6}) }}
{% macro g(n) %}{{ n }}{% if n > 0 %}{{ g(n - 1) }}{% endif %}{% endmacro %}{{ g(3) }}
{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{{ n }}{% endcall %}{% macro v() %}<{{ caller(5) }}>{% endmacro %}{% call(x) v() %}{{ x }}{% endcall %}
{% filter upper %}abc{{ s }}{% endfilter %}{% filter replace('a', 'b') %}banana{% endfilter %}
{{ d|tojson }} {{ d|tojson(indent=2) }} {{ s|tojson }} {{ 'é\u2028<>&\''|tojson }} {{ 'é🦙'|tojson(ensure_ascii=true) }} {{ d|tojson(separators=(',', ':')) }} {{ d|tojson(sort_keys=true) }} {{ []|tojson(indent=2) }} {{ [1, [2, {}]]|tojson(indent=1) }}
{{ [3, 1, 2]|sort }} {{ l|sort }} {{ l|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ m|sort(attribute='k') }} {{ l|unique|list }} {{ ['a', 'A']|unique|list }} {{ l|reverse|list }} {{ 'abc'|reverse }}
{{ m|map(attribute='v')|list }} {{ m|map(attribute='v', default='?')|list }} {{ l|map('upper')|list }} {{ m|selectattr('v')|list }} {{ m|selectattr('k', 'equalto', 1)|list }} {{ m|rejectattr('k', '>', 1)|list }} {{ [0, 1, 2]|select|list }} {{ [1, 2, 3]|select('odd')|list }} {{ [1, 2]|reject('eq', 1)|list }}
{{ l|first }} {{ l|last }} {{ []|first }} {{ 'abc'|first }} {{ 'abc'|list }} {{ n|string|length }} {{ t|string }} {{ f|string }} {{ l|string }} {{ '12'|int }} {{ '1.9'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ -3.9|int }} {{ '2.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ -3|abs }} {{ true|int }}
{{ missing|default('x') }} {{ none|default('x') }} {{ ''|default('x', true) }} {{ missing|d('y') }} {{ missing|default }}| {{ missing|length }} {{ missing|trim }}| {{ none|trim }} {{ '  a '|trim }}| {{ 'xax'|trim('x') }} {{ 5|trim }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb\n\nc'|indent(2, true, true) }}|{{ 'a\r\nb'|indent('> ') }}|{{ 'a\n'|indent }}|
{{ n is number }} {{ t is number }} {{ t is integer }} {{ f is float }} {{ 's' is string }} {{ d is mapping }} {{ l is iterable }} {{ d is iterable }} {{ 's' is iterable }} {{ n is iterable }} {{ l is sequence }} {{ d is sequence }} {{ missing is defined }} {{ missing is undefined }} {{ none is none }} {{ t is true }} {{ t is boolean }} {{ 3 is odd }} {{ -3 is odd }} {{ 'a' is lower }} {{ 'A1' is upper }} {{ '1' is lower }} {{ range is callable }} {{ n is not string }}
{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {% for i in range(3) %}{{ i }}{% endfor %} {{ range(0)|length }}
{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 100000.0 * 1000000.0 * 1000000.0 }} {{ 1 / 100000 }} {{ 1 / 3 }} {{ 10 ** 15 }}
{{ "a'b" }} {{ ["a'b", 'a"b', 'a\\'+'"b', 'tab\tnl\n', 'é🦙\u200b\u00a0'] }}
{{ {'a': (1, 2), 'b': {}} }} {{ [none, true, missing] }}
{%- if true -%}  x  {%- endif -%}  y
{{ none + 'x' }}
{{ missing + 'x' }}
{{ missing.x }}
{{ missing['x'] }}
{{ none.x }}|{{ n.x }}|{{ l.x }}|{{ none['x'] }}
{{ 'a' + 1 }}
{{ 1 < 'a' }}
{{ none|length }}
{{ n|length }}
{{ missing|tojson }}
{{ missing() }}
{{ n() }}
{{ 1 / 0 }}
{{ l.append('x') }}
{{ d.update({'x': 1}) }}
{{ ''.__class__.__mro__ }}
{{ raise_exception('no') }}
{% for x in n %}{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% set l.x = 1 %}
{% set d.x = 1 %}
{% break %}
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{{ s|nosuchfilter }}
{{ s is nosuchtest }}
{% nosuchtag %}
{{ strftime_now('%d %B %Y %H:%M:%S %I %p %a %b %A %y %% %j') }}
{{ 'a' 'b' }}
{% generation %}x{{ n }}{% endgeneration %}
{% if true %} {%- generation -%} x {%- endgeneration %} {% endif %}
{{ 'a' if false else 'b' if false else 'c' }}
{{ [1, 2,] }} {{ {'a': 1,} }}
{{ (n) }} {{ (1, 2)[0] }} {{ {'a': 1}.a }} {{ 'abc'.upper().lower()[1] }}
{{ -1|abs }} {{ 2 + 3|abs }} {{ not t is defined }} {{ n is defined and f is defined }}
{{ 'a' ~ 1 + 2 }}
""".strip().split("\n")
SNIPPETS.append("  {% if true %}\n  indented\n  {% endif %}\nafter {# comment #}\n  {#- trimmed -#}  z\n{{ n }}\n")

goldens = []


def add(golden, template, messages, **variables):
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], chat_template=template, bos_token="<s>", eos_token="</s>", **variables
        )
        golden["text"] = rendered[0]
    except Exception as error:
        golden["error"] = str(error)
    goldens.append(golden)


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
    for name, case in CASES.items():
        add(
            {"template": path.name, "case": name, **case},
            path.read_text(),
            case["messages"],
            tools=case.get("tools"),
            add_generation_prompt=case["add_generation_prompt"],
            **case.get("variables", {}),
        )
for snippet in SNIPPETS:
    add({"snippet": snippet}, snippet, [], **VALUES)
json.dump({"values": VALUES, "goldens": goldens}, sys.stdout, indent=1, ensure_ascii=False)
