"""Tells stories by the thousand: the text that the bundled model learns from. Seeded: the same seed tells the same stories.

A story is a plot (`plots_*.py`) told with a cast, a place and things from the tables of `words.py`. This file holds the teller: it
casts a story, expands templates, keeps names and pronouns straight, and writes the request that a story answers.

Templates: one alternative a line; `[a|b]` picks inside a line (may nest); `@name` is a phrase of MACROS; `{h.he}` are slots: h hero,
f and g friends, w and v workers, o a thing, p q r places (`{p}` the place, `{p.at}` where in it), s the setting, food.

    python models/tales/text.py --seed 7 --count 3 [--chat]
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from words import ANIMALS, BOYS, DETAILS, FANTASY, FOODS, GIRLS, GOOD, ONLY, OTHER_TRAITS, PET_BOYS, PET_GIRLS, SETTINGS, THINGS
from words import TRAITS, WORKER_TRAITS, WORKERS, Food, Kind, Setting, Thing, Worker, article


def invented_name(rng: random.Random) -> str:
    """A name from syllables: names that the model has never seen teach it to copy."""
    onsets = "B D F G H J K L M N P R S T V W Z Br Fl Gr Ch Sh".split()
    vowels = "a e i o u ee oo".split()
    ends = "n l r m x s k by la na lo no ra ta zi mo do ri ko bert ly".split()
    middle = rng.choice("b d f g l m n p r s t v z".split()) + rng.choice("aeiou") if rng.random() < 0.4 else ""
    return rng.choice(onsets) + rng.choice(vowels) + middle + rng.choice(ends)


class Actor:
    """Somebody in a story. As text it is the name; a lone `{h}` in a line may become `the fox` once the hero is known."""

    def __init__(self, rng: random.Random, name: str, noun: str, she: bool, trait: str, look: str, home: str, ran: str) -> None:
        self.rng, self.name, self.noun, self.trait, self.look, self.home, self.ran = rng, name, noun, trait, look, home, ran
        self.he, self.him, self.his = ("she", "her", "her") if she else ("he", "him", "his")
        self.He, self.His = self.he.capitalize(), self.his.capitalize()
        self.known = False

    @property
    def the(self) -> str:
        return "the " + self.noun

    @property
    def The(self) -> str:
        return "The " + self.noun

    @property
    def a(self) -> str:
        """`a brave fox`"""
        return article(f"{self.trait} {self.noun}" if self.trait else self.noun)

    @property
    def intro(self) -> str:
        """`a brave little fox named Pip`; the first mention."""
        self.known = True
        named = self.rng.choice(("named", "named", "called"))
        look = "" if self.trait in ("tiny", self.look, "purple", "pink", "golden") or self.rng.random() < 0.5 else self.look + " "
        return article(f"{self.trait + ' ' if self.trait else ''}{look}{self.noun} {named} {self.name}")

    def __str__(self) -> str:
        return self.name


class Helper:
    """A grown-up known by their work: `the baker`; always called so."""

    known = False

    def __init__(self, worker: Worker, she: bool, trait: str) -> None:
        self.worker, self.trait, self.noun = worker, trait, worker.noun
        self.he, self.him, self.his = ("she", "her", "her") if she else ("he", "him", "his")
        self.He, self.His = self.he.capitalize(), self.his.capitalize()
        self.work, self.gift, self.skill, self.trouble, self.help = worker.work, worker.gift, worker.skill, worker.trouble, worker.help

    @property
    def a(self) -> str:
        return article(f"{self.trait} {self.noun}")

    def __str__(self) -> str:
        return "the " + self.noun


class Item:
    """A thing with one look that it keeps through the story."""

    def __init__(self, thing: Thing, look: str) -> None:
        self.noun, self.look = thing.noun, look
        self.use, self.used, self.broke, self.mend = thing.use, thing.used, thing.broke, thing.mend
        self.a, self.full = article(f"{look} {thing.noun}"), f"{look} {thing.noun}"

    def __str__(self) -> str:
        return self.noun


class Spot:
    """A place of the setting: `{p}` is its name, `{p.at}` where in it something is."""

    def __init__(self, place: tuple[str, str]) -> None:
        self.at = place[1]
        self.name = place[0]

    def __str__(self) -> str:
        return self.name


MACROS = {
    "day": "[One sunny morning|One windy morning|One bright day|Early one morning|One cool morning|One warm afternoon|One spring day"
    "|One day|One fine day|One quiet afternoon|One autumn morning|One summer day]",
    "next": "[The next day|The next morning|When the sun came up|Early the next morning]",
    "then": "[Then|At that moment|Just then|After a while|Soon]",
    "glad": "[{h} was so happy that {h.he} danced around in a circle|{h} smiled from ear to ear|{h} laughed out loud|{h} felt warm and light inside"
    "|{h}'s eyes shone]",
    "sad": "[{h} felt very sad|{h} wanted to cry|{h} sat down and sighed|{h}'s heart felt heavy|a tear ran down {h}'s face]",
    "hsad": "[{h.he} felt very sad|{h.he} wanted to cry|{h.he} sat down and sighed|{h.his} heart felt heavy|a tear ran down {h.his} face]",
    "kindly": "[kindly|softly|with a smile|in a warm voice|gently]",
}
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_MACRO = re.compile(r"@([a-z]+)")
# `a owl` from `a {f.noun}` becomes `an owl`.
_VOWEL = re.compile(r"\b([Aa]) (?=(?!uni|use|one\b)[aeiou])")
# A sentence starts after . ! ? (and a closing quote, but not after !" or ?", where `said Tom` may follow).
_START = re.compile(r"(^|\n\n|[.!?] |\.\" )([a-z])")


@dataclass
class Story:
    """What was told, and what may be asked for to hear it."""

    text: str
    hero: Actor
    place: str
    clauses: list[str]  # "who lost a red kite": follows the hero
    others: list[str]  # "a kind baker": noun phrases, in the story for sure
    themes: list[str]  # "sharing"


class Teller:
    """One story in the making. Plots call `say` and `par`; slots are looked up among the teller's own names."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.paragraphs: list[list[str]] = [[]]
        self.slots: dict[str, object] = {}
        self.names: set[str] = set()
        self.nouns: set[str] = set()
        self.clauses: list[str] = []
        self.others: list[str] = []
        self.themes: list[str] = []
        self.used: set[str] = set()
        self.things = THINGS

    # Casting

    def cast(self, traits: tuple[str, ...] = GOOD, kinds: str = "any") -> None:
        """Chooses hero and setting. kinds: `any`, `people` or `animals`."""
        roll = self.rng.random()
        traits = OTHER_TRAITS if self.rng.random() < 0.15 else traits
        if kinds == "people" or (kinds == "any" and roll < 0.4):
            self.setting = SETTINGS[self.rng.choice([k for k, s in SETTINGS.items() if s.people and k != "castle"])]
            hero = self.child(self.rng.choice(traits))
        else:
            table = FANTASY if kinds == "any" and roll < 0.55 else ANIMALS
            kind = self.rng.choice(table)
            self.setting = SETTINGS[self.rng.choice(kind.settings)]
            hero = self.creature(kind, self.rng.choice(traits))
        self.h = self.slots["h"] = hero
        self.slots["s"] = self.setting.short
        places = list(self.setting.spots)
        self.rng.shuffle(places)
        for name, place in zip(("p", "q", "r"), places):
            self.slots[name] = Spot(place)

    def child(self, trait: str) -> Actor:
        she = self.rng.random() < 0.5
        return self.actor(GIRLS if she else BOYS, "girl" if she else "boy", she, trait, self.rng.choice(("little", "little", "young")), "house", "ran")

    def creature(self, kind: Kind, trait: str) -> Actor:
        she = ONLY.get(kind.noun, self.rng.choice(("she", "he"))) == "she"
        names = (PET_GIRLS if she else PET_BOYS) if kind in ANIMALS or self.rng.random() < 0.5 else (GIRLS if she else BOYS)
        return self.actor(names, kind.noun, she, trait, self.rng.choice(kind.looks), kind.home, kind.ran)

    def actor(self, names: list[str], noun: str, she: bool, trait: str, look: str, home: str, ran: str) -> Actor:
        name = invented_name(self.rng) if self.rng.random() < 0.2 else self.rng.choice([n for n in names if n not in self.names])
        self.names.add(name)
        self.nouns.add(noun)
        return Actor(self.rng, name, noun, she, trait, look, home, ran)

    def friend(self, slot: str = "f", trait: str = "") -> Actor:
        """A second hero who fits the setting; seldom of the hero's kind."""
        key = next(k for k, s in SETTINGS.items() if s is self.setting)
        if self.setting.people and self.rng.random() < 0.75:
            she = self.h.he == "he" if self.rng.random() < 0.8 else self.h.he == "she"
            noun = "girl" if she else "boy"
            friend = self.actor(GIRLS if she else BOYS, noun, she, trait, "little", "house", "ran")
            if noun == self.h.noun:
                friend.known = False
        else:
            fitting = [k for k in ANIMALS if key in k.settings and k.noun not in self.nouns]
            fitting = fitting or [k for k in ANIMALS if k.noun in ("cat", "dog", "mouse", "goose", "goat", "donkey") and k.noun not in self.nouns]
            friend = self.creature(self.rng.choice(fitting), trait)
        self.slots[slot] = friend
        return friend

    def helper(self, slot: str = "w") -> Helper:
        worker = self.rng.choice(WORKERS)
        helper = Helper(worker, self.rng.random() < 0.5 and worker.noun != "fisherman", self.rng.choice(WORKER_TRAITS))
        self.slots[slot] = helper
        return helper

    def item(self, slot: str = "o", pool: tuple[Thing, ...] = THINGS) -> Item:
        thing = self.rng.choice([t for t in pool if t.noun not in self.used])
        self.used.add(thing.noun)
        item = Item(thing, self.rng.choice(thing.looks))
        self.slots[slot] = item
        return item

    def food(self) -> Food:
        food = self.rng.choice(FOODS)
        self.slots["food"] = food
        return food

    def pick(self, slot: str, *options: object) -> object:
        choice = self.rng.choice(options)
        self.slots[slot] = choice
        return choice

    # Telling

    def expand(self, template: str) -> str:
        template = _MACRO.sub(lambda m: MACROS[m[1]], template)
        while (found := _CHOICE.search(template)) is not None:
            template = template[: found.start()] + self.rng.choice(found[1].split("|")) + template[found.end() :]
        for slot in ("h", "f"):
            who = self.slots.get(slot)
            if isinstance(who, Actor) and who.known and template.count("{%s}" % slot) == 1 and self.rng.random() < 0.2:
                template = template.replace("{%s}" % slot, who.the)
        return _VOWEL.sub(r"\1n ", template.format(**self.slots))

    def say(self, alternatives: str, chance: float = 1.0) -> None:
        """Adds one of the lines to the current paragraph (or nothing, by chance)."""
        if self.rng.random() < chance:
            self.paragraphs[-1].append(self.expand(self.rng.choice(alternatives.strip().split("\n")).strip()))

    def par(self) -> None:
        self.paragraphs.append([])

    def about(self, clauses: str = "", others: str = "", themes: str = "") -> None:
        """Records what the story is about; phrases are separated by ` | `."""
        for target, text in ((self.clauses, clauses), (self.others, others), (self.themes, themes)):
            target.extend(self.expand(phrase) for phrase in text.split(" | ") if phrase)

    def begin(self) -> None:
        """The opening: who, where, and what the hero is like."""
        on = self.setting.place.startswith(("a farm", "a small green island"))
        self.slots["place"] = ("on " if on else "in ") + self.setting.place
        self.slots["intro"] = self.h.intro
        self.h.known = False
        self.say("""
            Once upon a time, {place}, there lived {intro}.
            Once upon a time there was {intro}, who lived {place}.
            Once upon a time there was {intro}. {h.He} lived {place}.
            Once there was {intro} who lived {place}.
            There was once {intro} who lived {place}.
            Long ago, {place}, there lived {intro}.
            {place} there lived {intro}.
            Far away, {place}, there was {intro}.
            {h.name} was {h.a} who lived {place}.
            This is the story of {intro}, who lived {place}.
            Many years ago there lived {intro} {place}.
            Not so long ago, {place}, there was {intro}.
            {h.name} the {h.noun} lived {place}. Everybody knew how {h.trait} {h.he} was.
            {place} there was {intro}.
        """)
        self.say("\n".join(DETAILS[self.setting.short]), 0.3)
        self.h.known = True
        if self.h.trait in TRAITS and self.rng.random() < 0.75:
            self.say("\n".join(TRAITS[self.h.trait]))

    def cosy(self, chance: float = 1.0) -> None:
        """By chance, a last sentence that fits every story."""
        self.say("""
            That night {h} slept better than ever before.
            In the evening the stars came out over {s}, and {h} fell asleep with a smile.
            And when the moon rose, {h} was already fast asleep.
            From that day on, {h} had a new story to tell.
            It was the best day that {h} could remember.
            And {h} never forgot that day.
            {h} went home to {h.his} {h.home}, tired and happy.
            And that is how it has been ever since.
            The sun went down behind {s}, and everything was quiet and good.
        """, chance)

    def finish(self) -> Story:
        text = "\n\n".join(" ".join(p) for p in self.paragraphs if p)
        text = _START.sub(lambda m: m[1] + m[2].upper(), text)
        friend = self.slots.get("f")
        if isinstance(friend, Actor) and friend.name in text:
            self.others.append(article(f"{friend.noun} {self.rng.choice(('named', 'called'))} {friend.name}"))
        return Story(text, self.h, self.setting.short, self.clauses, self.others, self.themes)


Plot = Callable[[Teller], None]


def tell(rng: random.Random) -> Story:
    # Imported here, because the plots name this module's Teller.
    from plots_days import PLOTS as days
    from plots_friends import PLOTS as friends
    from plots_growing import PLOTS as growing
    from plots_quests import PLOTS as quests
    from plots_talents import PLOTS as talents

    teller = Teller(rng)
    rng.choice(days + friends + growing + quests + talents)(teller)
    return teller.finish()


# Requests

_ASK = (
    "Tell me a story about {x}.", "Tell me a story about {x}.", "Tell me a story about {x}", "Write a story about {x}.", "Write a short story about {x}.",
    "Write a story about {x}", "Can you tell me a story about {x}?", "Please tell me a story about {x}.", "Could you write a story about {x}?",
    "I would like a story about {x}.", "A story about {x}, please.", "Make up a story about {x}.", "Tell me a bedtime story about {x}.",
    "Tell us a story about {x}!", "tell me a story about {x}", "write a story about {x}", "I want to hear a story about {x}.", "Story about {x}",
    "Tell a tale about {x}.", "Write a story for children about {x}.", "Tell me about {x}.",
)
_ANY = ("Tell me a story.", "Tell me a story", "Tell me a bedtime story.", "Write a story.", "Write a short story.", "Please tell me a story.",
        "Can you tell me a story?", "Tell me something nice.", "A story, please.", "Write me a story", "Once upon a time")
_MORE = ("Another one, please.", "Tell me another story.", "One more!", "That was nice. Another one?", "More, please.")
_SMALL_TALK = (
    ("Hello", "Hello! I tell stories. Who shall the story be about?"),
    ("Hello!", "Hello! I tell little stories. What shall I tell you about?"),
    ("Hi", "Hi! Would you like a story? Tell me who it should be about."),
    ("Who are you?", "I am a small teller of stories. Tell me who the story should be about."),
    ("What can you do?", "I tell short stories. Ask me for a story about a brave fox, a lost kite or a kind baker."),
    ("Thank you", "You are welcome! Would you like another story?"),
    ("Thank you!", "You are welcome! Come back when you want another story."),
    ("Thanks", "You are welcome! I have many more stories."),
    ("Good night", "Good night! Sleep well and dream of something nice."),
    ("How are you?", "I am well, thank you. I have a story ready. Who should it be about?"),
)


def request(rng: random.Random, story: Story) -> str:
    """A request that this story answers: what it names, the story has."""
    h = story.hero
    adjective = f"{h.trait} " if h.trait and rng.random() < 0.6 else ""
    subject = article(adjective + h.noun)
    if (named := rng.random()) < 0.33:
        subject += f" {rng.choice(('named', 'named', 'called'))} {h.name}"
    elif named < 0.38:
        subject = f"{h.name} the {h.noun}"
    elif named < 0.43:
        subject = h.name
    roll = rng.random()
    if roll < 0.06:
        return rng.choice(_ANY)
    if roll < 0.32:
        topic = subject
    elif roll < 0.52 and story.clauses:
        topic = f"{subject} {rng.choice(story.clauses)}"
    elif roll < 0.72 and story.others:
        topic = f"{subject} and {rng.choice(story.others)}" if rng.random() < 0.7 else f"{rng.choice(story.others)} and {subject}"
    elif roll < 0.82 and len(story.others) > 1:
        topic = " and ".join(rng.sample(story.others, 2))
    elif roll < 0.9 and story.themes:
        topic = rng.choice(story.themes)
    elif roll < 0.95:
        topic = f"{subject} in {story.place}" if story.place and not story.place.endswith(("farm", "island", "hills")) else subject
    elif story.others:
        topic = rng.choice(story.others)
    else:
        topic = subject
    if rng.random() < 0.03:
        return topic
    return rng.choice(_ASK).format(x=topic)


BEGIN, USER, TELL, END = "<|begin|>", "<|user|>", "<|story|>", "<|end|>"
SPECIAL = (BEGIN, END, USER, TELL)  # in the order of their ids


def chat(prompt: str) -> str:
    return f"{BEGIN}{USER}{prompt}{TELL}"


def document(rng: random.Random) -> str:
    """One training text: a plain story, a story asked for, or a short talk with a story in it."""
    roll = rng.random()
    story = tell(rng)
    if roll < 0.26:
        # A few begin in the middle, so that a prompt may begin with `One day`.
        text = story.text.split("\n\n", 1)[1] if roll < 0.015 else story.text
        return f"{BEGIN}{text}{END}"
    asked = f"{USER}{request(rng, story)}{TELL}{story.text}{END}"
    if roll < 0.90:
        return BEGIN + asked
    if roll < 0.95:
        question, answer = rng.choice(_SMALL_TALK)
        talk = f"{USER}{question}{TELL}{answer}{END}"
        return BEGIN + (talk + asked if not question.startswith(("Th", "Good")) else asked + talk)
    other = tell(rng)
    again = rng.choice(_MORE) if rng.random() < 0.5 else request(rng, other)
    return f"{BEGIN}{asked}{USER}{again}{TELL}{other.text}{END}"


def documents(seed: int) -> Iterator[str]:
    """Endless; document i of a seed is the same on every machine."""
    index = 0
    while True:
        yield document(random.Random(f"tales {seed} {index}"))
        index += 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Print stories of the generator.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--chat", action="store_true", help="print whole training documents with their markers")
    args = parser.parse_args()
    source = documents(args.seed)
    for index in range(args.count):
        print(next(source) if args.chat else tell(random.Random(f"story {args.seed} {index}")).text)
        print("-" * 60)


if __name__ == "__main__":
    main()
