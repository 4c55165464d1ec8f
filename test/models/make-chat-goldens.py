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
CASES = {
    "one question": {"messages": [USER], "add_generation_prompt": True},
    "a conversation": {"messages": [SYSTEM, USER, ASSISTANT, {"role": "user", "content": "  More?  "}], "add_generation_prompt": True},
    "without a prompt": {"messages": [USER, ASSISTANT], "add_generation_prompt": False},
    "with a tool": {"messages": [SYSTEM, USER], "tools": [TOOL], "add_generation_prompt": True},
    "out of turn": {"messages": [USER, USER], "add_generation_prompt": True},
}

goldens = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
    for name, case in CASES.items():
        golden = {"template": path.name, "case": name, **case}
        try:
            rendered, _ = chat_template_utils.render_jinja_template(
                conversations=[case["messages"]],
                tools=case.get("tools"),
                chat_template=path.read_text(),
                add_generation_prompt=case["add_generation_prompt"],
                bos_token="<s>",
                eos_token="</s>",
            )
            golden["text"] = rendered[0]
        except Exception as error:
            golden["error"] = str(error)
        goldens.append(golden)
json.dump(goldens, sys.stdout, indent=1, ensure_ascii=False)
