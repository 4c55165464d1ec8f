"""Counts what can be counted by machine about stories that a model tells: names, requests, endings, words. The yardstick is what the
same counts say of the generator's own stories."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass

from tokenizers import Tokenizer

from generate import generate
from model import Tales
from text import END, Story, chat, documents, request, tell
from words import ANIMALS, FANTASY, THINGS, WORKERS

KINDS = sorted({k.noun for k in (*ANIMALS, *FANTASY)} | {"girl", "boy"})
NOUNS = sorted({*KINDS, *(w.noun for w in WORKERS), *(t.noun for t in THINGS)} - {"girl", "boy"})
_KIND = "|".join(sorted(KINDS, key=len, reverse=True))
# `a fox named Pip`, `Pip, a brave fox`, `Pip the fox`, `Pip was a brave fox`
_NAMED = re.compile(rf"\b({_KIND}) (?:named|called) ([A-Z][a-z]+)")
_APPOSED = re.compile(rf"\b([A-Z][a-z]+)(?:,? the|, an?|,? was an?)(?: [a-z]+){{0,2}} ({_KIND})\b")
_SELF = re.compile(
    r"\b([A-Z][a-z]+) (?:and|told|asked|met|saw|helped|hugged|thanked|gave|visited|followed|(?:went|said|called|nodded|ran|came|listened) to"
    r"|(?:looked|smiled|waved) at|sat down (?:next to|beside)) \1\b"
)
_WORD = re.compile(r"[A-Za-z]+")
_INSIDE = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")  # a capital inside a sentence
_NO_NAMES = {"Dear", "Sunday", "July", "Post", "Your", "Everyone", "Mother", "Father"}
_COMMON = set("that with what have from who his her their the and for did not was had how about somebody others".split())


def names(text: str) -> list[str]:
    """Names in order of appearance: words with a capital inside a sentence."""
    known = set(_INSIDE.findall(text)) - _NO_NAMES
    return [w for w in dict.fromkeys(_WORD.findall(text)) if w in known]


def phrases(story: Story, asked: str) -> dict[str, list[str]]:
    """What a request names, as words that must be in the story."""
    found: dict[str, list[str]] = {}
    words = set(_WORD.findall(asked))
    hero = story.hero
    if hero.name in words:
        found["name of the hero"] = [hero.name]
    if re.search(rf"\b{hero.noun}\b", asked):
        found["kind of the hero"] = [hero.noun]
    if hero.trait and re.search(rf"\b{hero.trait} {hero.noun}", asked):
        found["trait of the hero"] = [hero.trait]
    for phrase in story.others:
        if re.search(rf"\b{re.escape(phrase)}\b", asked):
            content = [w for w in phrase.split() if w not in ("a", "an", "the", "his", "her", "named", "called")]
            found["other being or thing"] = [content[-1]]
    for phrase in (*story.clauses, *story.themes):
        if re.search(rf"\b{re.escape(phrase)}\b", asked):
            found["event or theme, its words"] = [w for w in _WORD.findall(phrase) if len(w) > 3 and w not in _COMMON]
    return found


@dataclass
class Case:
    asked: str
    wanted: dict[str, list[str]]
    reference: str  # the generator's own answer


def cases(seed: int, count: int) -> list[Case]:
    made = []
    for index in range(count):
        rng = random.Random(f"evaluation {seed} {index}")
        story = tell(rng)
        asked = request(rng, story)
        made.append(Case(asked, phrases(story, asked), story.text))
    return made


@dataclass
class Yardstick:
    words: set[str]
    definite: set[tuple[str, str]]  # (noun, next word) that the generator does mention first with `the`
    most_names: int


def unintroduced(text: str) -> list[tuple[str, str]]:
    """Nouns whose first mention is `the fox`: (noun, next word)."""
    found = []
    for noun in NOUNS:
        first = re.search(rf"\b{noun}s?\b(?:\W+(\w+))?", text)
        if first and re.search(r"\b(?:the|The)(?: [a-z]+){0,2} $", text[: first.start()]):
            found.append((noun, (first[1] or "").lower()))
    return found


def yardstick(count: int = 4000) -> Yardstick:
    words: set[str] = set()
    definite: Counter[tuple[str, str]] = Counter()
    amounts = []
    for text in itertools.islice(documents(1), count):
        words.update(w.lower() for w in _WORD.findall(text))
        if text.count(END) == 1:
            definite.update(unintroduced(text))
            amounts.append(len(names(text)))
    return Yardstick(words, {k for k, n in definite.items() if n > 1}, sorted(amounts)[int(0.995 * len(amounts))])


def faults(case: Case, text: str, ended: bool, known: Yardstick) -> dict[str, bool]:
    """Signs that a thread was lost. Not each is one for sure: compare with the generator's rate."""
    whole = f"{case.asked}\n{text}"
    mentioned = names(text)
    counts = Counter(_WORD.findall(whole))
    roles: dict[str, set[str]] = {}
    for kind, name in (*_NAMED.findall(whole), *((k, n) for n, k in _APPOSED.findall(whole))):
        roles.setdefault(name, set()).add(kind)
    half = len(text) // 2
    hero = mentioned[0] if mentioned else ""
    lower = [w for w in _WORD.findall(text) if w[0].islower()]
    return {
        "does not end": not ended,
        "word that the generator lacks": any(w not in known.words for w in lower),
        "name mentioned only once": any(counts[n] == 1 for n in mentioned),
        "more names than the generator": len(mentioned) > known.most_names,
        "one name, two kinds": any(len(kinds) > 1 for kinds in roles.values()),
        "somebody acts on themselves": _SELF.search(text) is not None,
        "hero missing in a half": not hero or hero not in text[:half] or hero not in text[half:],
        "`the` at a first mention": any(found not in known.definite for found in unintroduced(whole)),
    }


def table(made: list[Case], texts: list[str], ended: list[bool], known: Yardstick) -> dict[str, float]:
    found = [faults(case, text, end, known) for case, text, end in zip(made, texts, ended)]
    rows = {f"fault: {name}": sum(f[name] for f in found) / len(found) for name in found[0]}
    rows["stories with no such fault"] = sum(not any(f.values()) for f in found) / len(found)
    wanted: Counter[str] = Counter()
    given: Counter[str] = Counter()
    followed = 0
    for case, text in zip(made, texts):
        low = text.lower()
        all_given = True
        for what, needles in case.wanted.items():
            # Five letters will do: `learned to swim` is told as `swam` seldom, but `planted` as `planting` often.
            got = not needles or sum(n.lower()[:5] in low for n in needles) * 2 >= len(needles)
            wanted[what] += 1
            given[what] += got
            if not what.startswith(("event", "trait")):
                all_given = all_given and got
        followed += all_given
    rows |= {f"request: {what} ({wanted[what]} times)": given[what] / wanted[what] for what in sorted(wanted)}
    rows["stories with all that the request names"] = followed / len(made)
    lower = [w for text in texts for w in _WORD.findall(text) if w[0].islower()]
    rows["words that the generator lacks"] = sum(w not in known.words for w in lower) / max(1, len(lower))
    rows["words a story"] = sum(len(_WORD.findall(t)) for t in texts) / len(texts)
    rows["names a story"] = sum(len(names(t)) for t in texts) / len(texts)
    rows["different words, of all"] = len(set(lower)) / max(1, len(lower))
    return rows


def evaluate(model: Tales, tokenizer: Tokenizer, seed: int, count: int, temperature: float, top_p: float, samples: int) -> None:
    known = yardstick()
    made = cases(seed, count)
    end = tokenizer.token_to_id(END)
    told = generate(model, [tokenizer.encode(chat(c.asked)).ids for c in made], end, temperature, top_p, seed)
    texts = [tokenizer.decode(t.ids) for t in told]
    ours = table(made, texts, [t.ended for t in told], known)
    theirs = table(made, [c.reference for c in made], [True] * count, known)
    print(f"{count} stories at temperature {temperature}, top-p {top_p}; model, generator:")
    for name, value in ours.items():
        kind = "8.2f" if "a story" in name else "8.2%"
        print(f"  {value:{kind}} {theirs[name]:{kind}}  {name}")
    for case, text, one in list(zip(made, texts, told))[:samples]:
        marks = [name for name, found in faults(case, text, one.ended, known).items() if found]
        print(f"{'-' * 60}\n> {case.asked}\nfound: {', '.join(marks) or 'nothing'}\n\n{text}", flush=True)
