"""Plots about what one is good for: small machines, odd gifts, music, work, magic, and caring for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import GOOD, Setting, article

if TYPE_CHECKING:
    from text import Plot, Teller


MACHINES = (
    # (what, home, daily work, big rival, trouble, why only the small one can, deed)
    ("train", "an old station", "carried milk and letters from one village to the next", "big express train", "snow lay deep on the mountain, and the village on the other side had no more bread", "the tracks up the mountain were too narrow for big trains", "puffed up the mountain with ten sacks of flour"),
    ("tugboat", "a busy harbor", "pulled barrels and boxes across the water", "big ship", "a great ship was stuck between the rocks in the fog", "the water between the rocks was not deep enough for the big ships", "slipped between the rocks and pulled until the great ship was free"),
    ("tractor", "a farm in the valley", "pulled the hay wagon and the plow", "shiny new truck", "the school bus was stuck in the mud after the rain", "the truck's smooth wheels only turned around in the mud", "dug its rough wheels into the mud and pulled the bus onto the road"),
    ("bus", "a garage at the edge of town", "took the children to school", "tall city bus", "a tree had fallen, and the doctor had to get to the other side of the hill", "the only other road was far too narrow for a tall bus", "rattled along the narrow road with the doctor inside"),
    ("plane", "a field with yellow grass", "carried letters over the hills", "big silver plane", "a boat was lost at sea, and night was coming", "the big planes were too fast and too high to see a small boat", "flew low over the waves until it saw a tiny light"),
    ("fire engine", "a small red garage", "watered the flowers in the park", "big fire engine", "a kitten sat on a burning roof in the narrowest street of the town", "the street was too narrow for the big engine", "squeezed through the street and reached the roof with its short ladder"),
    ("sailboat", "a quiet bay", "brought the fishermen home", "big steamer", "there was no wood and no coal left, and medicine had to be brought to the island", "the big steamer could not move without coal", "spread its white sail and let the wind carry it to the island"),
    ("snow plow", "a shed behind the town hall", "cleared the path to the school", "giant snow plow", "the baker could not get to the oven because his street was full of snow", "the street had too many corners for a giant plow", "went around every corner until the street was free"),
)


def machine(t: Teller) -> None:
    what, home, work, rival, trouble, why, deed = t.rng.choice(MACHINES)
    name = t.rng.choice(("Toby", "Rosie", "Max", "Dot", "Chuffy", "Bessie", "Button", "Tilda", "Gus", "Patch"))
    look = t.rng.choice(("little red", "little blue", "little green", "little old", "small yellow"))
    t.h = t.slots["h"] = t.actor([name], what, False, t.rng.choice(("brave", "cheerful", "shy", "kind", "careful")), look, "home", "rolled")
    name = t.h.name
    t.setting = Setting(home, "", (), False)
    t.slots.update(n=name, what=what, look=look, home=home, work=work, rival=rival, trouble=trouble, why=why, deed=deed)
    t.slots["intro"] = t.expand(article(f"{t.h.trait} {look} {what} [named|called] {name}"))
    t.about("that saved the day | that was very small | and a {rival}", f"a {{rival}} | a {look} {what}", f"a little {what} | a {what} that saved the day | being small")
    t.say("""
        Once upon a time there was {intro}. Its home was {home}.
        There was once {intro}, and its home was {home}.
        Once there was {intro}. It lived in {home}.
        Long ago, in {home}, there lived {intro}.
    """)
    t.say("""
        Every day it {work}. It liked its work.
        From morning to evening it {work}.
    """)
    t.par()
    t.say("""
        Next to it stood a {rival}. "You are too small," said the {rival}. "You cannot do anything important."
        "Out of the way, little one!" the {rival} always called. "I have real work to do."
    """)
    t.say("""
        {n} said nothing, but it was sad. "Maybe it is true," it thought.
        "I do what I can," said {n} quietly.
    """)
    t.par()
    t.say("""
        Then one day there was bad news: {trouble}. "I will do it!" cried the {rival}. But it was no use, because {why}.
        One cold morning a bell rang. Everybody came running. It was bad: {trouble}. The {rival} tried first, but {why}.
    """)
    t.say("""
        "May I try?" asked {n}. Everybody turned around. "You?" they said.
        {n} took a deep breath. "I am small," it said. "Let me go."
    """)
    t.par()
    t.say("""
        And so {n} {deed}. It was slow and it was hard. "I can do it, I can do it," {n} hummed all the way.
        {n} {deed}. The wind blew and the way was long, but it did not stop.
    """)
    t.say("""
        When {n} came home, everybody cheered. Even the {rival} was quiet. "I was wrong," it said. "You are small, but you have a big heart."
        In the evening {n} got a crown of flowers. "Well done, little friend," said the {rival}.
    """)
    t.say("""
        The next morning {n} {work}, as always. But now it sang.
        Nobody ever called {n} too small again.
        Small is just the right size, sometimes.
    """)


FLAWS = (
    # (flaw, tease, danger, how the flaw saves)
    ("very big feet", "Here comes Bigfoot", "The pond froze, and then the ice began to crack under the little ones. It would not carry anyone who ran", "spread {h.his} big feet wide and walked over the thin ice as if on snowshoes, and brought the little ones back"),
    ("a very loud voice", "Not so loud", "A thick fog came up, and half of the neighbors were lost in it", "called as loud as {h.he} could, and all of them followed the voice home"),
    ("very big ears", "Are you going to fly away", "One night, while all the others slept, the river began to rise", "heard the water from far away and woke everybody in time"),
    ("a laugh like a rusty door", "Please do not laugh", "A dark cloud of sadness lay over everything, because it had rained for forty days", "began to laugh {h.his} funny laugh, and one after the other all of them laughed until the sun came out"),
    ("spots in every color", "You look like a paint box", "One winter day the snow fell so thick that the others lost their way in all that white", "stood on the hill, bright as a flag, and everybody could see which way to go"),
    ("very long arms and legs", "Tangle, tangle", "The smallest one of all fell into a deep hole and could not get out", "reached down, farther than anyone else could, and pulled the little one up"),
    ("a very slow walk", "Hurry up, slowpoke", "Everybody ran to the fair so fast that they lost the basket with all the food on the way", "came along slowly, saw the basket in the grass and brought it to the fair"),
)


def flaw(t: Teller) -> None:
    t.cast(traits=("shy", "kind", "gentle", "quiet", "cheerful", "lonely"))
    f = t.friend()
    has, tease, danger, saved = t.rng.choice(FLAWS)
    t.slots.update(has=has, tease=tease, danger=danger, saved=t.expand(saved))
    t.about("with {has} | who was different | who had {has}", "a {f.noun}", "being different | {has} | laughing at others")
    t.begin()
    t.say("""
        {h} had {has}.
        There was one thing that everybody noticed about {h.him}: {h.he} had {has}.
    """)
    t.say("""
        "{tease}!" called {f.name}, a {f.noun}, and the others laughed.
        "{tease}!" the others said, and {f.name}, a {f.noun}, said it loudest of all.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        {h} tried to hide it, but how can you hide such a thing? In the end {h.he} stayed alone and did not play with the others any more.
        "I wish I were like everyone else," {h} thought every night.
        {h} laughed with them, but inside it hurt.
    """)
    t.par()
    t.say("""
        Then something happened. {danger}.
        But one day it was no time for jokes. {danger}.
    """)
    t.say("""
        Nobody knew what to do. But {h} knew. {h.He} {saved}.
        "What shall we do?" they cried. Then {h} stood up. {h.He} {saved}.
    """)
    t.par()
    t.say("""
        After that it was very quiet. {f.name} came up to {h}. "I am sorry that I laughed at you," said {f.name}. "Without you it would have ended badly."
        "You saved us," said {f.name}, and looked at the ground. "And I was so unkind to you. Can you forgive me?" "Yes," said {h}.
    """)
    t.say("""
        From then on nobody laughed at {h} any more. And {h} was glad to have {has}.
        "I would not want to be any other way now," said {h}.
        What makes us different may be the best thing about us.
    """)


def three_wishes(t: Teller) -> None:
    t.cast(traits=(*GOOD, "greedy", "impatient", "lonely"))
    f = t.friend()
    giver = t.pick("giver", "fairy", "golden fish", "little wizard", "genie", "silver bird")
    trap = {"fairy": "caught in a spider web", "golden fish": "lying on the dry sand", "little wizard": "stuck in a hollow tree", "genie": "shut up in a bottle", "silver bird": "caught in a net"}[str(giver)]
    t.slots["trap"] = trap
    t.food()
    w2, undo = t.rng.choice((("to be as tall as a tree", "bumped into the clouds and could not get through any door"), ("that it would always be summer", "saw how the brook dried up and the flowers hung their heads"),
        ("that nobody would ever bother {h.him}", "sat in such a silence that {h.he} could hear the grass grow, and was very lonely"), ("that everything {h.he} touched would turn into cake", "could not even pick up a cup, because it turned into cake"),
        ("to have a mountain of toys", "could not find the way out between all the toys")))
    t.slots.update(w2=t.expand(w2), undo=t.expand(undo))
    t.about("who had three wishes | and three wishes | who helped a {giver} | who met a {giver}", "a {giver} | a {f.noun} | three wishes", "three wishes | magic wishes | a {giver} | wishing")
    t.begin()
    t.par()
    t.say("""
        @day {h} heard a small voice {p.at}. It was a {giver}, {trap}. {h} helped at once.
        @day {h} found a {giver} {p.at}. It was {trap}. "Please help me," it said, and {h} did.
    """)
    t.say("""
        "Thank you," said the {giver}. "For that you have three wishes. But think well before you wish!"
        "You have a good heart," said the {giver}. "You may wish for three things."
    """)
    t.par()
    t.say("""
        {h} was hungry, so {h.he} wished for {food.a}. And there it was. {h} ate it, and it was gone. That was the first wish.
        "I wish for {food.a}," said {h} without thinking. It was very good, but soon it was eaten up, and so was the first wish.
    """)
    t.say("""
        Then {h} wished {w2}. At first it was fun. But soon {h.he} {undo}. When night came, the magic was over, and {h} was glad.
        The second wish was bigger. {h} wished {w2}. But it was not nice at all: {h.he} {undo}. Luckily the wish lasted only one day.
    """)
    t.say("""
        Now there was only one wish left. {h} went for a walk to think about it. {q.at} sat {f.name}, a {f.noun} who had been ill for a long time and could not play.
        "I must be careful with the last one," thought {h}. Then {h.he} met {f.name}, a {f.noun} who sat {q.at} and was sad. {f.name} had hurt a leg and could not run any more.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        {h} did not have to think any longer. "I wish that {f.name} were well again," {h.he} said. And at that moment {f.name} jumped up and laughed.
        {h} closed {h.his} eyes. "My third wish is for {f.name}," {h.he} said. "May {f.he} be well." There was a soft ringing in the air, and {f.name} stood up and danced.
    """)
    t.say("""
        "That was your best wish," said the {giver}.
        "You could have wished for gold," said the {giver}. "I got something better," said {h}.
    """)
    t.say("""
        And the two of them played until the evening.
        A wish for somebody else makes two hearts happy.
        {h} and {f.name} became the best of friends.
    """)


INSTRUMENTS = ("drum", "flute", "fiddle", "trumpet", "guitar", "bell", "harp", "whistle", "banjo")


def band(t: Teller) -> None:
    t.cast()
    f, g = t.friend("f"), t.friend("g")
    one, two, three = t.rng.sample(INSTRUMENTS, 3)
    t.slots.update(one=one, two=two, three=three)
    t.about("who played the {one} | who started a band | and a band | who loved music", f"a {one} | a {{f.noun}} | a {{g.noun}} | a band", "music | a band | playing music together | a concert")
    t.begin()
    t.say("""
        {h} had a {one} and played it all day long.
        {h.He} could play the {one}, but only one song, and that one badly.
    """)
    t.say("""
        "It sounds so thin when I play alone," said {h}.
        But nobody wanted to listen. "Please, not again," said the neighbors.
    """)
    t.par()
    t.say("""
        @day the wind carried a sound over from {p}. There sat {f.name}, a {f.noun}, and played the {two}.
        @day {h} went to {p} to practice. But somebody was there already: {f.name}, a {f.noun} with a {two}.
    """)
    t.say("""
        {h} sat down and played along. It did not fit at all, and they both had to laugh. They tried again, and it was better.
        "Shall we play together?" asked {h}. The first try was terrible. The second one was not.
    """)
    t.say("""
        Then there was a sound behind them. It was {g.name}, a {g.noun}, with a {three}. "May I join you?" asked {g.name}.
        "There is something missing," said {f.name}. "Yes," called a voice. "Me!" It was {g.name}, a {g.noun}, with a {three}.
    """)
    t.par()
    t.say("""
        From then on they met every day. When {h} was too fast, {f.name} nodded slowly. When {g.name} was too loud, {h} smiled and shook {h.his} head. They learned to listen to each other.
        They practiced for many weeks. At first each of them wanted to be the loudest. Then they understood: you have to listen, too.
    """)
    t.say("""
        On midsummer night there was a great feast. "We need music!" somebody called. The three friends looked at each other and stepped forward.
        Then came the day of the summer feast, but the musicians were ill. "We can play," said {h} in a small voice.
    """)
    t.par()
    t.say("""
        They played {h.his} one song. But with {one}, {two} and {three} it was a new song, wide and bright, and everybody danced.
        First there was the {one}, then came the {two}, and then the {three}. It was so beautiful that even the crickets fell silent.
    """)
    t.say("""
        "How did you get so good?" asked the neighbors. "We are not so good," said {h}, "but we are three."
        And if you listen on a warm evening, you may still hear them.
        Alone it was a noise. Together it was music.
    """)


def sick_friend(t: Teller) -> None:
    t.cast(traits=("kind", "cheerful", "funny", "gentle", "playful", "curious", "shy", "patient"))
    f = t.friend()
    t.food()
    t.item("o", tuple(x for x in t.things if x.noun in ("book", "music box", "puppet", "flute", "drum", "bell", "teddy bear")))
    t.about("with a sick friend | who cheered up a sick friend | who visited a sick {f.noun} | and a sick {f.noun}", "a sick {f.noun} | {o.a} | {food.a}", "a sick friend | caring for a friend | being ill | cheering somebody up")
    t.begin()
    t.say("""
        {h.His} best friend was {f.name}, a {f.noun}. They met every day {p.at}.
        Every day {h} played with {f.name}, a {f.noun} who lived nearby.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        But one day {f.name} did not come. {h} waited and waited. Then {h.he} went to see what was the matter.
        One morning {h} waited {p.at}, but {f.name} was not there. So {h} went to look for {f.him}.
    """)
    t.say("""
        {f.name} was in bed and sneezed three times. "I have a cold," {f.he} said. "It is so boring to lie here."
        {f.name} lay under three blankets. "My head hurts," {f.he} said in a thin voice, "and I must not get up for a week."
    """)
    t.par()
    t.say("""
        "I will make you well," said {h}. First {h.he} brought {food.a}. But {f.name} was not hungry.
        {h} thought about what might help. {h.He} made {food.a}, and {f.name} ate a little bit and said, "Thank you." But {f.he} did not smile.
    """)
    t.say("""
        Then {h} told a joke, but {f.name} only coughed.
        Next {h} stood on {h.his} head, but it only made {f.name} dizzy.
        Then {h} sang a song, but {f.name} put a pillow over {f.his} ears.
    """)
    t.say("""
        At last {h} had an idea. {h.He} {h.ran} home and brought {o.a}. "This is for you, until you are well," {h.he} said. "And I will stay here, and we will be bored together."
        So {h} went home and came back with {o.a}. "We do not have to do anything," {h.he} said. "I will just sit here with you."
    """)
    t.par()
    t.say("""
        And that was the best medicine. {f.name} smiled for the first time that day. They talked a little, and they were silent a little, and soon {f.name} fell asleep.
        {f.name} held the {o} and smiled. "Now it is not boring any more," {f.he} said, and closed {f.his} eyes.
    """)
    t.say("""
        {h} came back every day. And on the seventh day {f.name} stood in front of {h.his} {h.home} and called, "Come out and play!"
        A few days later {f.name} was well again. Then {h} began to sneeze. "Now it is my turn," laughed {f.name}, and brought {h.him} the {o}.
    """)
    t.say("""
        The best medicine is a friend who stays.
        And they were more careful with each other than before.
        You do not always need to do great things. Sometimes it is enough to be there.
    """)


def new_baby(t: Teller) -> None:
    t.cast(traits=("playful", "proud", "impatient", "cheerful", "lonely", "quiet", "curious", "funny"))
    she = t.rng.random() < 0.5
    t.slots.update(sib="sister" if she else "brother", she="she" if she else "he", Her="Her" if she else "His", her_="her" if she else "him")
    t.slots["b"] = t.actor(["Lulu", "Mimi", "Nell", "Lola", "Tess"] if she else ["Bean", "Bo", "Tip", "Joe", "Ted"], "baby", she, "", "little", "house", "ran").name
    t.item("o", tuple(x for x in t.things if x.noun in ("teddy bear", "blanket", "music box", "bell", "puppet", "doll", "ball")))
    t.about("with a new baby {sib} | who got a baby {sib} | and a new baby {sib} | who was jealous", "a baby {sib} | {o.a}", "a new baby {sib} | a baby {sib} | being jealous | a new baby")
    t.begin()
    t.par()
    t.say("""
        @day there was great news: {h} had a baby {sib}! The baby's name was {b}.
        One night {h} was woken by a strange little sound. "This is {b}, your baby {sib}," said {h.his} mother.
    """)
    t.say("""
        Everybody came to look at {b}. "How sweet!" they said. Nobody looked at {h}.
        From now on it was always "Hush, {b} is sleeping" and "Wait, {b} is hungry." Nobody had time for {h}.
    """)
    t.say("""
        "{b} cannot even talk," said {h}. "What is so great about that?" And {h.he} went away to {p} to be alone.
        {h} sat {p.at} and kicked little stones. "They do not need me any more," {h.he} thought.
    """)
    t.par()
    t.say("""
        That evening {b} cried and cried. {h.His} mother sang and {h.his} father rocked, but nothing helped.
        But in the night {b} began to cry and would not stop. Mother tried everything, and father tried everything.
    """)
    t.say("""
        {h} came closer on quiet feet. {h.He} took {h.his} own {o.full} and laid it next to the baby. Then {h.he} hummed a little song.
        "Let me try," said {h}. {h.He} held out {h.his} {o.full} and made a funny face.
    """)
    t.say("""
        {b} stopped crying. Two big eyes looked at {h}. And then {b} smiled, for the very first time.
        At once it was quiet. {b} took hold of {h} and would not let go.
    """)
    t.par()
    t.say("""
        "{b} likes you best of all," said {h.his} mother, and held {h} close. "You will always be my first one."
        "That only you could do," said {h.his} father. "A baby needs somebody like you."
    """)
    t.say("""
        {h} looked at {b} again. The little one was really not so bad.
        From then on {h} sang for {b} every evening.
        "When you are bigger, I will show you {p}," whispered {h}, "and {q}, and everything."
    """)
    t.say("""
        Love does not get smaller when you share it. It grows.
        And {b}'s first word was "{h.name}".
        And {h} was proud to be the big one.
    """)


MAGIC = (
    ("pot", "cooked sweet porridge when you said, \"Cook, little pot\"", "Cook, little pot", "Stop, little pot", "The porridge rose over the edge, ran over the floor and out into the road", "had to eat porridge for a whole week"),
    ("broom", "swept all by itself when you said, \"Sweep, little broom\"", "Sweep, little broom", "Rest, little broom", "The broom swept out the dust, then the chairs, and then the table", "had to carry everything back inside"),
    ("drum", "made everyone dance when you said, \"Dance, dance\"", "Dance, dance", "Rest, rest", "Everybody danced, even the cows, and nobody could stop, although their feet were sore", "had to rub many sore feet"),
    ("watering can", "never ran dry when you said, \"Flow, flow\"", "Flow, flow", "Dry, dry", "The water filled the garden, and the cabbages began to swim", "had to plant all the cabbages again"),
    ("bell", "made it snow when you said, \"Snow, snow\"", "Snow, snow", "Sun, sun", "The snow rose up to the windows, in the middle of July", "had to dig a path to every neighbor"),
    ("needle", "sewed all by itself when you said, \"Sew, needle, sew\"", "Sew, needle, sew", "Sleep, needle, sleep", "The needle sewed the curtains to the table and the table to the door", "had to cut a thousand little threads"),
)


def magic_thing(t: Teller) -> None:
    t.cast(traits=("lazy", "impatient", "curious", "playful", "greedy", "dreamy", "proud", "clever"))
    what, does, go, stop, mess, price = t.rng.choice(MAGIC)
    giver = t.pick("giver", "an old woman", "an old man", "a wizard", "a fairy", "a stranger with a green hat")
    t.slots.update(what=what, does=does, go=go, stop=stop, mess=mess, price=price, theg="the " + str(giver).split(" ", 1)[1].removesuffix(" with a green hat"))
    t.about("who had a magic {what} | and a magic {what} | who did not listen", "a magic {what} | {giver}", "a magic {what} | magic | listening well")
    t.begin()
    t.par()
    t.say("""
        @day {giver} came by, tired and thirsty. {h} gave {theg} some water. "Thank you," said {theg}. "Take this {what}. It is magic."
        @day {h} helped {giver} to carry a heavy bag. "For this you shall have my magic {what}," said {theg}.
    """)
    t.say("""
        And it was true: the {what} {does}. "And when it is enough," {theg} began. But {h} was already gone.
        The {what} {does}. "Listen, there is one more thing," called {theg}. But {h} did not listen and {h.ran} home.
    """)
    t.par()
    t.say("""
        "{go}!" said {h}, and it worked! {h} laughed with joy.
        At home {h} said the words: "{go}!" And at once it began.
    """)
    t.say("""
        But then it was enough, and it did not stop. "Stop!" cried {h}. "Halt! Please! The end!" It did not help. {mess}.
        Soon it was enough. But {h} did not know the word that would stop it. {mess}.
    """)
    t.say("""
        {h} {h.ran} as fast as {h.he} could, past {p} and past {q}, and at last {h.he} found {theg}. "What is the word?" {h.he} cried.
        There was only one thing to do. {h} had to find {theg}. {h.He} looked at {p} and {h.he} looked at {q}. "Please, what is the word?" {h.he} begged.
    """)
    t.par()
    t.say("""
        "I wanted to tell you," said {theg}, "but you had no time. You must say, '{stop}.'" {h} {h.ran} back and said it, and everything was still.
        "{stop}," said {theg} with a smile. "It is easy, if you listen to the end." {h} {h.ran} home and said it. At once it was over.
    """)
    t.say("""
        But {h} {price}.
        The magic had stopped, but the work had not. {h} {price}.
    """)
    t.say("""
        From that day on, {h} always listened to the end.
        Magic is a fine thing, but a good ear is better.
        And the {what} stands in a corner and waits for somebody who listens well.
    """)


def jobs(t: Teller) -> None:
    t.cast(traits=("dreamy", "clumsy", "cheerful", "curious", "kind", "funny", "friendly", "hopeful"))
    w, v = t.helper("w"), t.helper("v")
    while v.noun == w.noun:
        v = t.helper("v")
    talent, lead = t.rng.choice((("telling stories", "told them a story, to cheer them up"), ("singing", "sang a little song, because the work had been long"), ("making people laugh", "made a face and a joke about the whole thing"),
        ("drawing", "drew a picture of it all with a bit of coal"), ("dancing", "danced a funny little dance, just to cheer them up")))
    t.slots.update(talent=talent, lead=lead)
    t.about("who looked for the right work | who was good at {talent} | who wanted to know what {h.he} was good at | and {w.a}", "{w.a} | {v.a} | a {w.noun} and a {v.noun}", "finding your talent | {talent} | what one is good at")
    t.begin()
    t.say("""
        "Everybody is good at something," {h} often thought. "What am I good at?"
        {h} wanted to do something useful, but {h.he} did not know what.
    """)
    t.par()
    t.say("""
        First {h} went to {w.a}. "I want to learn to {w.skill}," {h.he} said. But it went wrong from the start. "You have two left hands," sighed {w}, "but you tried."
        So {h} went to {w.work}. "May I help?" {h.he} asked {w.a}. By evening everything was upside down. "Maybe this is not for you," said {w} @kindly.
    """)
    t.say("""
        Then {h} went to {v.work}, to {v.a}. But it was not easy to {v.skill}. After one day {v} had to do everything again.
        The next day {h} tried to {v.skill}. {v.a} showed {h.him} how. But {h} was thinking of something else, and it all went wrong.
    """)
    t.say("""
        "I am good at nothing," said {h}, and @hsad.
        In the evening {h} sat on a wall with a heavy heart.
    """)
    t.par()
    t.say("""
        {w} and {v} came by and sat down beside {h.him}. They were tired. So {h} {lead}.
        Just then {w} and {v} came along with tired faces. {h} wanted to say sorry, so {h.he} {lead}.
    """)
    t.say("""
        They looked up in surprise. Then they began to smile. "How did you do that?" asked {w}. "Do it again!" said {v}.
        All at once they were not tired any more. "That was wonderful," said {w}. "Nobody can do that as you can," said {v}.
    """)
    t.par()
    t.say("""
        Now {h} knew it: {h.he} was good at {talent}. From then on everybody came to {h.him} every evening after work.
        So that was it. {h} was good at {talent}! And soon everybody in {s} knew it.
    """)
    t.say("""
        There is something for each of us. You only have to look long enough.
        And {w} still laughs about that first day.
        "And I thought that I was good at nothing," said {h}, and laughed.
    """)


PLOTS: tuple[Plot, ...] = (machine, flaw, three_wishes, band, sick_friend, new_baby, magic_thing, jobs)
