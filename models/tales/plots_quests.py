"""Plots about finding out and getting there: things lost and found, riddles, maps, bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import CARRIED, THINGS

if TYPE_CHECKING:
    from text import Plot, Teller


def lost_thing(t: Teller) -> None:
    t.cast()
    t.item("o", CARRIED)
    helper = t.rng.random() < 0.35
    f = t.helper("f") if helper else t.friend()
    t.about("who lost {o.a} | who lost {h.his} {o} | and a lost {o} | looking for {h.his} {o}", f"a lost {{o}} | {{o.a}} | {'{f.a}' if helper else 'a {f.noun}'}", "a lost {o} | losing something | {o.a} that was lost")
    t.begin()
    t.say("""
        Of all {h.his} things, {h} loved {h.his} {o.full} the most. {h.He} liked to {o.use}.
        {h} had {o.a}. {h.He} liked to {o.use}.
        {h.His} dearest treasure was {o.a}. Every day {h} {o.used}.
    """)
    t.par()
    t.say("""
        @day {h} looked for the {o}, but it was gone.
        @day the {o} was not in its place. {h} looked again, but it was really gone.
        @day {h} came home from {p} and saw that the {o} was missing.
        One morning {h} woke up, and the {o} was gone.
    """)
    t.say("""
        "Oh no! Where is my {o}?" cried {h}.
        "My {o}! I have lost my {o}!" said {h}, and @hsad.
        "It was here yesterday," said {h}. @sad.
    """)
    t.say("""
        {h} looked at home first, in every corner of the {h.home}. It was not there. {h.He} {h.ran} to {q} and looked all around. It was not there either.
        First {h.he} searched {q.at}. There was nothing but [a few leaves|dust and sand|an old nail|a sleepy beetle]. Next {h.he} searched {p.at}. Nothing.
        {h} searched the whole morning. {h.He} looked {q.at}, and {h.he} looked {p.at}. The {o} was nowhere.
    """)
    t.par()
    if helper:
        t.say("""
            {f.a} [came by|was on the way home] and saw the sad face. "What is the matter?" asked {f}.
            On the way home {h} met {f.a}. "Why are you so sad?" asked {f}.
        """)
    else:
        t.say("""
            {f.name}, a little {f.noun}, came by. "What is the matter?" asked {f.name}.
            There {h} met a {f.noun} called {f.name}. "Why do you look so sad?" asked {f.name}.
            A {f.noun} named {f.name} heard the crying and came closer. "Can I help you?" asked {f.name}.
        """)
        f.known = f.noun != t.h.noun
    t.say("""
        "I have lost my {o.full}," said {h}. "I have looked everywhere."
        {h} told {f} about the {o.full}. "I do not know where to look any more," {h.he} said.
    """)
    t.say("""
        "[Let us think|Sit down and think]," said {f}. "When did you have it last?" {h} thought hard. "Yesterday I was at {r}," {h.he} said slowly. "Then that is where we will look!" said {f}.
        "I think I saw something {o.look} {r.at}," said {f}. "Come, I will show you."
        "Two can look better than one," said {f}. "Have you looked {r.at}?" {h} had not.
    """)
    t.par()
    t.say("""
        They went to {r} together. And there, {r.at}, lay the {o}!
        Together they hurried to {r}. Something [shone|peeped out] {r.at}. It was the {o.full}!
        So they went to {r}, and they looked under every leaf. "Here it is!" called {f}. There was the {o}, [a little dusty but whole|wet but not broken|safe and sound].
    """)
    t.say("""
        "Thank you! I would never have found it without you," said {h}. @glad.
        @glad. "Thank you for your help," {h.he} said.
        {h} hugged the {o} and then hugged {f}. "Thank you," {h.he} said.
    """)
    t.say("""
        From then on {h} [always put the {o} back in its place|kept the {o} in a safe place], and {f} came to visit every day.
        "Next time you lose something, call me," said {f}, and they both laughed.
        {h} had found {h.his} {o} again, and a friend as well.
        After that {h} let {f} use the {o} too, because joy is bigger when it is shared.
    """ if not helper else """
        From then on {h} always put the {o} back in its place.
        "It is easier to find things with two," said {f}, and gave {h} {f.gift}.
        {h} had found {h.his} {o} again, and had made a friend as well.
    """)
    t.cosy(0.5)


BABIES = (
    ("duckling", "mother duck", "a soft peeping sound", "at the water"), ("kitten", "mother cat", "a thin meow", "in the sun"), ("lamb", "mother sheep", "a sad little baa", "with the flock"),
    ("chick", "mother hen", "a tiny cheep", "in the straw"), ("little owl", "mother owl", "a small hoot", "in a hollow tree"), ("foal", "mother horse", "a soft whinny", "by the fence"),
    ("baby bear", "mother bear", "a small growl", "near the honey tree"), ("puppy", "mother dog", "a small whimper", "in front of a little house"), ("fawn", "mother deer", "a rustle in the leaves", "between the ferns"),
    ("baby hedgehog", "mother hedgehog", "a small sniff", "in a heap of leaves"),
)


def lost_baby(t: Teller) -> None:
    t.cast()
    baby, mother, sound, where = t.rng.choice([b for b in BABIES if t.h.noun not in b[0] and t.h.noun not in b[1]])
    t.slots.update(baby=baby, mother=mother, sound=sound, where=where)
    g = t.friend("g")
    t.about("who found a lost {baby} | who helped a lost {baby} | and a lost {baby} | who found a {baby}", "a lost {baby} | a {baby} | a {g.noun}", "a lost {baby} | a {baby} that looked for its mother | finding the way home | a {baby}")
    t.begin()
    t.par()
    t.say("""
        @day {h} was on the way to {p} when {h.he} heard {sound}. It was a {baby}, and it was all alone.
        @day {h} was resting {p.at}. There was {sound}. {h} looked around and saw a lost {baby}.
    """)
    t.say("""
        "Where is your mother?" asked {h}. The {baby} only shook its head and began to cry.
        "I cannot find my mother," said the {baby}. A tear ran down its face.
    """)
    t.say("""
        "Do not cry," said {h} @kindly. "We will find her together."
        "I will not leave you alone," said {h}. "Come with me."
    """)
    t.par()
    t.say("""
        First they went to {q}. "Have you seen the {mother}?" {h} asked {g.name}, a {g.noun} who lived there. "Not here," said {g.name}. "But try {r}."
        They walked to {q}, and the {baby} stayed close to {h}. There they met {g.name}, a {g.noun}. "I heard somebody calling over at {r}," said {g.name}.
    """)
    t.say("""
        It was a long way. When the {baby} was tired, {h} carried it a little.
        On the way it began to rain, and {h} held a big leaf over the {baby}.
        They went on. {h} sang a song, so that the {baby} would not be afraid.
    """)
    t.par()
    t.say("""
        At {r} they stopped and listened. Somebody was calling. And there, {where}, was the {mother}!
        When they came to {r}, the {baby} lifted its head. "I know that voice!" it cried. And there she was, the {mother}, {where}.
    """)
    t.say("""
        "My little one!" she called. "I have looked for you everywhere!" The {baby} ran to her as fast as it could.
        The {baby} ran and ran, and she held it close.
    """)
    t.say("""
        "How can I thank you?" asked the {mother}. "You do not have to," said {h}. "I am happy when you are happy."
        "You have a good heart, {h.name}," said the {mother}. "You will always be welcome here."
    """)
    t.par()
    t.say("""
        {h} waved for a long time. Then {h.he} went home to {h.his} own {h.home}.
        Since then the {baby} comes to visit {h} every week, and it knows the way by heart.
    """)
    t.cosy(0.6)


NIGHT = (
    ("the buttered bread", "a hungry little mouse with six babies", "they put out some crumbs every evening", "hungry little mouse"),
    ("the shiny spoon", "a young crow who loved shiny things", "they gave the crow a box of shiny buttons", "young crow"),
    ("one red sock", "a cat who was building a bed for her kittens", "they made her a soft bed of old blankets", "mother cat"),
    ("the best apples", "a small donkey from the empty barn", "they brought the donkey hay and apples every day", "small donkey"),
    ("a ball of wool", "a bird who was building a nest", "they hung bits of wool in the tree for the nest", "little bird"),
    ("a piece of cheese", "a lost puppy without a home", "they gave the puppy a home and a name", "lost puppy"),
    ("the warm milk", "a thin gray kitten", "they put out a bowl of milk every night", "gray kitten"),
)


def mystery(t: Teller) -> None:
    t.cast(traits=("clever", "curious", "brave", "careful", "quiet", "grumpy", "funny", "kind"))
    f = t.friend()
    stolen, thief, kindness, short = t.rng.choice([n for n in NIGHT if t.h.noun not in n[3] and f.noun not in n[3]])
    t.slots.update(stolen=stolen, thief=thief, kindness=kindness, short=short)
    t.about("who solved a mystery | who wanted to catch a thief | and a mystery | and a strange noise", "a mystery | a {f.noun} | a thief", "a mystery | a strange noise in the night | a thief | a riddle")
    t.begin()
    t.par()
    t.say("""
        One morning something strange had happened: {stolen} was gone. The next morning something else was missing.
        One morning {h} got up and found that {stolen} was gone. "Who can it have been?" {h.he} asked.
    """ if "apples" not in stolen else """
        One morning something strange had happened: {stolen} were gone. The next morning something else was missing.
        One morning {h} got up and found that {stolen} were gone. "Who can it have been?" {h.he} asked.
    """)
    t.say("""
        "There must be a thief," said {f.name}, the {f.noun} from next door. "We must find out who it is."
        {h} told {f.name}, a {f.noun} and a good friend. "A thief!" said {f.name}. "How exciting!"
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        They looked for tracks. {p.at} they found tiny footprints, and then the tracks stopped.
        "Let us look for clues," said {h}. They found a few tracks {p.at}, but they were too small to read.
    """)
    t.par()
    t.say("""
        So they made a plan. That night they would stay awake and watch. They hid in a corner and waited.
        "We will stay awake tonight," said {h}. They put out a plate as bait and hid in the shadows.
    """)
    t.say("""
        It grew dark. It grew late. {f.name} began to snore. Then there was a noise. Scratch, scratch!
        The moon came up. An hour went by, and then another. Suddenly they heard small steps. Tip, tap, tip, tap.
    """)
    t.say("""
        {h} held up a lamp. "Stop!" {h.he} called. And who was standing there? It was {thief}.
        "Now!" whispered {h}, and they jumped out of their corner. In the light of the lamp stood {thief}.
    """)
    t.par()
    t.say("""
        "Please do not be angry," said the {short}, and shook with fear. "I did not know what else to do."
        The {short} looked at them with big eyes and began to cry. "I am so sorry," it said.
    """)
    t.say("""
        {f.name} wanted to scold. But {h} said, "You only had to ask." And from then on {kindness}.
        {h} and {f.name} looked at each other. This was not a bad thief at all. So from that night on {kindness}.
    """)
    t.say("""
        Nothing was ever missing again, and the mystery was solved.
        "We wanted to catch a thief," said {f.name}, "and we caught a friend."
        And when {h} hears a noise at night, {h.he} smiles and goes back to sleep.
    """)


def bridge(t: Teller) -> None:
    t.cast(traits=("clever", "kind", "brave", "patient", "proud", "grumpy", "cheerful"), kinds=t.rng.choice(("animals", "people", "any")))
    f = t.friend(trait=t.rng.choice(("proud", "grumpy", "clever", "cheerful")))
    t.about("who built a bridge | who wanted to cross the river | and a river | who worked together with a {f.noun}", "a bridge | a river | a {f.noun}", "working together | a bridge | building a bridge | a river")
    t.begin()
    t.say("""
        On one side of the river lived {h}, and on the other side lived {f.name}, {f.a}. They waved to each other every morning, but the water was too wild to cross.
        Between {p} and {q} ran a river. {h} lived on this side. On the other side lived {f.name}, {f.a}.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        On {h.his} side grew the best [apples|pears|plums], and on the other side grew the best [nuts|berries|mushrooms]. "If only I could get across," said {h}.
        "Come over and visit me!" called {f.name}. "I cannot," called {h}. "The water is too fast."
    """)
    t.say("""
        {h} tried to throw a rope, but it fell into the water. {f.name} tried to wade, but the river almost carried {f.him} away.
        First {h} put a thin branch across. It broke with a crack. Then {f.name} rolled stones into the water, but the river took them all.
    """)
    t.par()
    t.say("""
        "Alone we cannot do it," said {h}. "But what if you begin on your side and I begin on mine?"
        Then {h} had an idea. "You have the tall trees, and I have the strong rope," {h.he} called. "Let us do it together!"
    """)
    t.say("""
        So they set to work. {f.name} [pushed|rolled] a long tree trunk to the edge, and {h} pulled it over with the rope. They laid a second one next to it, and a third.
        For seven days they carried wood and tied knots, {h} on this side and {f.name} on that side. And every day the two ends came closer.
    """)
    t.say("""
        At last the two ends met in the middle. And there, in the middle, stood {h} and {f.name}.
        Then the bridge was done. They walked toward each other and met in the middle.
    """)
    t.par()
    t.say("""
        "Hello, neighbor," said {h}. "Hello, friend," said {f.name}.
        "I have waited so long to meet you," said {f.name}, and they both laughed.
    """)
    t.say("""
        Now everybody can cross the river, and there is a small bench on the bridge where the two of them sit in the evening.
        And when the river is loud at night, they both know: the bridge will hold.
        What one cannot do alone, two can do together.
    """)


TREASURES = (
    ("an old tin box. Inside lay a note: \"The treasure is the view.\" They looked up and saw the whole land, golden in the evening sun", "the view"),
    ("a big tree full of ripe red cherries", "the cherries"),
    ("a wooden box full of old story books", "the stories"),
    ("a hidden spring with water as clear as glass", "the clear water"),
    ("a small boat with a white sail, ready for a trip", "the boat"),
    ("a box with a single golden coin, left there for those who come after", "the adventure"),
    ("a chest full of hats, masks and bright old clothes", "the bright clothes"),
    ("a tree house that somebody had built long ago", "the tree house"),
)


def treasure(t: Teller) -> None:
    t.cast(traits=("curious", "brave", "playful", "clever", "dreamy", "impatient", "funny", "careful"))
    f = t.friend(trait=t.rng.choice(("careful", "clever", "cheerful", "sleepy")))
    t.item("o", tuple(x for x in THINGS if x.noun in ("book", "teapot", "music box", "basket", "hat", "clock", "drum")))
    found, prize = t.rng.choice(TREASURES)
    t.slots.update(found=found, prize=prize)
    t.about("who found a map | who looked for a treasure | and a treasure map | who followed an old map", "a treasure | a treasure map | a {f.noun}", "a treasure | a treasure map | an adventure | an old map")
    t.begin()
    t.par()
    t.say("""
        @day {h} found a piece of paper in {o.a}. It was a map!
        @day {h} turned over {o.a}, and out fell an old yellow map.
    """)
    t.say("""
        There was a red cross on it. "A treasure!" said {h}, and {h.ran} to {f.name}, {f.a}. "Will you come with me?"
        "Look!" {h} said to {f.name}, {f.a}. "There is a red cross. That must be a treasure!"
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        The map said: "Begin at {p}. Go to {q}. Then turn to where the sun goes down." So they took some bread and set out.
        First the map led them to {p}. From there they had to walk a hundred steps to {q}.
    """)
    t.say("""
        At {q} the path ended. "We are lost," said {f.name}. {h} turned the map around. "No," {h.he} said, "we were holding it upside down!"
        Then a fog came up, and they could not see the way. They held on to each other and went on, step by step, until it was clear again.
        A deep ditch lay across the path. {h} wanted to jump, but {f.name} found a log, and they walked over it.
        "I am tired," said {f.name}. "Only a little farther," said {h}, and sang a marching song.
    """)
    t.par()
    t.say("""
        At last they came to the place with the cross. {r.at} they found {found}.
        Then they saw it. There, {r.at}, was {found}.
    """)
    t.say("""
        "Is that the treasure?" asked {f.name}. "It is," said {h}. "And it is better than gold."
        For a moment they were silent. Then they both began to laugh with joy.
    """)
    t.say("""
        They stayed until the sun went down. "The best part was looking for it with you," said {f.name}.
        They told nobody for a whole day. Then they told everybody, because a treasure is for sharing.
        When they went home, {h} put the map back where it came from. "Somebody else will find it," {h.he} said.
    """)
    t.cosy(0.4)


def wise_trick(t: Teller) -> None:
    t.cast(traits=("clever", "tiny", "brave", "funny", "quiet", "kind"), kinds=t.rng.choice(("animals", "any")))
    big = t.pick("big", *[b for b in ("bear", "wolf", "lion", "goose", "goat", "giant", "dragon", "bull", "troll") if b != t.h.noun])
    t.slots["bigname"] = t.pick("bn", "Grumble", "Brock", "Storm", "Rocky", "Thunder", "Boulder")
    t.about("who met a grumpy {big} | who was smarter than a {big} | and a grumpy {big} | who asked a riddle", "a grumpy {big} | a {big} | a riddle", "a riddle | a clever trick | a grumpy {big} | being clever")
    t.begin()
    t.par()
    t.say("""
        The only way to {p} led over a narrow path. And on this path sat {bigname}, a big and grumpy {big}. "Nobody may pass," growled {bigname}.
        One day a big {big} called {bigname} lay down across the path to {p}. "This is my path now," said {bigname}. "Go away!"
    """)
    t.say("""
        Everybody was afraid. Some shouted, and some begged, but {bigname} only growled.
        The others tried to push, but {bigname} did not move at all.
    """)
    t.say("""
        "Let me try," said {h}. The others laughed. "You? You are much too small."
        {h} thought about it for a whole night. In the morning {h.he} went to {bigname} all alone.
    """)
    t.par()
    riddle, answer = t.rng.choice((("What gets bigger when you share it", "Joy"), ("What can you break without touching it", "A promise"), ("What goes up and never comes down", "Your age"),
        ("What has a bed but never sleeps", "A river"), ("What has teeth but cannot bite", "A comb"), ("What is yours, but others use it more than you do", "Your name"),
        ("What gets wetter the more it dries", "A towel"), ("What can run but never walks", "Water")))
    t.slots.update(riddle=riddle, answer=answer, lower=answer[0].lower() + answer[1:])
    t.say("""
        "Good morning, {bigname}," said {h} politely. "I have a riddle for you. If you cannot guess it, you let us pass." "I can guess anything," said {bigname}.
        "I hear that you are very wise," said {h}. "Can you guess my riddle? If not, you must let us pass." {bigname} was flattered. "Ask," said {bigname}.
    """)
    t.say("""
        "{riddle}?" asked {h}.
        {h} smiled and asked, "{riddle}?"
    """)
    t.say("""
        {bigname} thought until the sun was high. {bigname} thought until the sun was low. "I do not know," {bigname} said at last.
        {bigname} scratched one ear, and then the other. "A stone? A cloud? A cake?" But it was all wrong.
    """)
    t.say("""
        "{answer}," said {h}. {bigname} stared, and then the big {big} began to laugh, louder and louder. "That is good! Do you know another one?"
        "The answer is {lower}," said {h}. For the first time in years {bigname} laughed. "Nobody ever told me a riddle before," said the big {big}.
    """)
    t.par()
    t.say("""
        "Are you always alone here?" asked {h}. "Always," said {bigname} quietly. And {h} understood why the {big} was so grumpy.
        Then {bigname} stood up and made room. "Please come back tomorrow," said the {big}. "It is so boring to be grumpy."
    """)
    t.say("""
        From then on everybody could pass, and whoever came by told {bigname} a riddle.
        And now, on the path to {p}, there is always somebody laughing.
        A clever word is stronger than a strong arm.
    """)


def errand(t: Teller) -> None:
    """A walk with three meetings: kindness on the way comes back in the end."""
    t.cast()
    a, b = t.friend("f"), t.friend("g")
    t.food()
    who = t.pick("who", "grandmother", "grandfather", "aunt", "uncle")
    t.slots["they"] = "she" if who in ("grandmother", "aunt") else "he"
    t.about("who went to visit {h.his} {who} | who helped others on the way | with a basket | and {food.a}", "{food.a} | a {f.noun} | a {g.noun} | {h.his} {who}", "kindness | a long way | a visit | kindness that comes back")
    t.begin()
    t.par()
    t.say("""
        @day {h} wanted to visit {h.his} {who}, who lived beyond {r}. {h.He} packed {food.a} and set out.
        @day {h.his} {who} was ill in bed. "I will bring {food.a}," said {h}, and set out at once.
    """)
    t.say("""
        At {p} {h.he} met a {f.noun} named {f.name}. "I am so hungry," said {f.name}. {h} gave {f.him} {food.part}.
        {h} came to {p}. There sat {f.name}, a {f.noun}. "I have not eaten since yesterday," said {f.name}. So {h} shared and gave {f.him} {food.part}.
    """)
    a.known = a.noun != t.h.noun
    t.say("""
        At {q} {h.he} saw {g.name}, a {g.noun} who was caught in some thorns. {h} bent the thorns aside, and {g.name} was free.
        A little later, near {q}, a {g.noun} called for help. It was {g.name}, who had fallen into a hole. {h} held out a long branch and pulled {g.him} out.
    """)
    t.say("""
        "Thank you," said {g.name}. "I will not forget it."
        "If you ever need me, call," said {g.name}.
    """)
    t.par()
    t.say("""
        Then a thick fog came down. {h} could not see the path any more. "I am lost," {h.he} thought.
        But the sun went down, and soon it was dark. {h} did not know which way to go.
    """)
    t.say("""
        "{h.name}!" called a voice. It was {f.name}. "I know the way. Follow me!" And from the other side came {g.name} with a little lamp.
        Suddenly there was a light. {g.name} came with a lamp, and behind came {f.name}. "We saw that you were not there yet," they said, "so we went to look for you."
    """)
    t.say("""
        Together they walked until they saw the house. {h.His} {who} stood at the door. "How good that you are here," {they} said. "And you have brought friends!"
        Soon all three of them stood in front of the right door. {h.His} {who} was so glad that {they} felt better at once.
    """)
    t.par()
    t.say("""
        They all ate what was left of the {food.noun}, and there was just enough for everyone.
        There was not much left of the {food.noun}, but nobody minded. They had so much to tell.
    """)
    t.say("""
        Kindness goes a long way, and it always finds the way back.
        What you give on the way, you will find again at the end.
        "Who helps others is never lost," said {h.his} {who}.
    """)


PLOTS: tuple[Plot, ...] = (lost_thing, lost_thing, lost_baby, mystery, bridge, treasure, wise_trick, errand)
