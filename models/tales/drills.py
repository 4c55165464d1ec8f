"""Exercises for the first part of the training: short texts in which names and things come back at once.

In a story the next mention of a name is far away, and a small model takes long to find out that it is worth looking back. Here
every second or third word is worth it, so that it learns to look back first, and to tell stories with that.
"""

from __future__ import annotations

import random

from text import BEGIN, TELL, USER, Teller, request, tell

_LINES = """
{h} ran.
{h} sat down.
{h} laughed.
{h} looked at {f}.
{f} looked at {h}.
{f} smiled.
{h} saw {f}.
{f} went to {p}. {h} went to {p}, too.
"Hello, {h.name}," said {f.name}.
"Hello, {f.name}," said {h.name}.
"{h.name}!" called {f.name}.
"{f.name}!" called {h.name}.
{h.the} and {f.the} saw the {o}.
{h.name} is {h.the}, and {f.name} is {f.the}.
The {o} belongs to {h}. It is {h.his} {o}.
{h} likes {h.his} {o}. {h.He} likes to {o.use}.
"Where is my {o}?" asked {h}. The {o} was {p.at}.
{h} found the {o} {p.at}.
{h} gave the {o} to {f}. "Thank you, {h.name}," said {f.name}.
{h} went home to {h.his} {h.home}.
{f} went home to {f.his} {f.home}.
{w} saw {h} and {f}.
"This is {h.name}," said {f} to {w}.
"This is {f.name}," said {h} to {w}.
{h.trait_line}
""".strip().split("\n")


def drill(rng: random.Random) -> str:
    """A dozen short sentences about the same few names, or a request with only the first sentence of its story."""
    if rng.random() < 0.2:
        story = tell(rng)
        first = story.text.split(". ", 1)[0]
        return f"{BEGIN}{USER}{request(rng, story)}{TELL}{first}."
    t = Teller(rng)
    t.cast()
    f = t.friend(trait=rng.choice(("kind", "shy", "happy", "proud", "quiet")))
    t.helper()
    t.item()
    lines = [f"There was {t.h.intro}. {t.h.name} had {{o.a}}.", f"There was {f.intro}."]
    t.h.known, f.known = t.h.noun != f.noun, f.noun != t.h.noun
    extra = {"{h.trait_line}": f"{t.h.name} was {t.h.trait}. {f.name} was {f.trait}."}
    for line in rng.choices(_LINES, k=rng.randint(8, 18)):
        lines.append(extra.get(line, line))
    for line in lines:
        t.say(line.replace("|", " "))
    return BEGIN + t.finish().text
