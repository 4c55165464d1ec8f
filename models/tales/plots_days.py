"""Plots about work, feasts and quiet hours: helping, gifts, fairs, snow, bedtime, inventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import GIFTS, GOOD, THINGS

if TYPE_CHECKING:
    from text import Plot, Teller


def helping_worker(t: Teller) -> None:
    t.cast()
    t.helper()
    t.about("who helped {w.a} | and {w.a} | who helped the {w.noun} | who wanted to help", "{w.a} | a {w.noun} | {w.a}", "helping | helping others | a helping hand | {w.a}")
    t.begin()
    t.say("""
        Every day {h} passed {w.work}, where {w.a} worked from morning to evening.
        Not far away was {w.work}. It belonged to {w.a} who knew how to {w.skill} better than anyone.
        {h} liked to visit {w.work} and watch {w.a} at work.
    """)
    t.par()
    t.say("""
        @day {w} was not singing as usual. "What is wrong?" asked {h}.
        @day {h} found {w} with a worried face. "What has happened?" {h.he} asked.
        But one day {w} sat in front of {w.work} and sighed. "Can I help you?" asked {h}.
    """)
    t.say("""
        {w} shook {w.his} head. It was a bad day: {w.trouble}. "And I cannot do it alone," said {w}.
        "Everything goes wrong today," said {w}. And it was true: {w.trouble}.
        {w} told {h.him} everything. That morning {w.trouble}, and nobody had time to help.
    """)
    t.say("""
        "You are [still small|so young]," said {w}. "This is a lot of work." "Small hands can help, too," said {h}.
        "I will help you," said {h}. {w} looked surprised. "You?" {w.he} asked. "Me," said {h}.
        {h} did not wait to be asked twice. "Let me try," {h.he} said.
    """)
    t.par()
    t.say("""
        So {h} {w.help}. It was not easy, and it took a long time, but {h} did not stop.
        {h} set to work. {h.He} {w.help}. When {h.he} was tired, {h.he} rested a little and then went on.
        All day long {h} worked. {h.He} {w.help}. {w} watched with wide eyes.
    """)
    t.say("""
        When the sun went down, everything was done.
        At last the work was finished.
        And before the evening bell rang, it was done.
    """)
    t.par()
    t.say("""
        "You have saved the day," said {w}, and gave {h} {w.gift}.
        {w} laughed with joy. "How can I ever thank you?" {w.he} said, and put {w.gift} in front of {h}.
        "Without you I would still be sitting there," said {w}. "This is for you." It was {w.gift}.
    """)
    t.say("""
        {h} was proud all the way home.
        @glad. "I did it because you are my friend," {h.he} said.
        "May I come again tomorrow?" asked {h}. "Tomorrow I will teach you to {w.skill}," said {w}.
        And from that day on, {h} went to {w.work} every week and learned to {w.skill}.
    """)
    t.say("""
        Nobody is too small to help.
        A little help at the right time is worth more than gold.
        Those who help are never without friends.
    """, 0.6)


def snow_day(t: Teller) -> None:
    t.cast(traits=("cheerful", "playful", "curious", "sleepy", "lonely", "shy", "lazy", "kind"))
    f = t.friend()
    hat = t.item("o", tuple(x for x in THINGS if x.noun in ("hat", "scarf", "bucket", "blanket")))
    t.food()
    t.about("in the snow | who built a snowman | and the first snow | and a snowman", "a snowman | a {f.noun} | the first snow", "the first snow | winter | a snowman | a snowy day")
    t.begin()
    t.par()
    t.say("""
        One winter morning everything was white. "Snow!" cried {h}. "It has snowed!"
        One morning it was very quiet. {h} looked out and saw that the first snow had fallen.
        The days had been gray and cold. Then, one night, it began to snow, and in the morning the whole world was white.
    """)
    t.say("""
        {h} {h.ran} outside and left the first footprints. Soon {f.name} came, a {f.noun} from next door. "Let us build a snowman!" said {f.name}.
        Outside stood {f.name}, a {f.noun}, up to the knees in snow. "Come and build a snowman with me!" called {f.name}.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        They rolled a big ball, a middle ball and a small ball. {h} found two black stones for the eyes, and {f.name} found a carrot for the nose.
        They worked all morning. The snowman got arms of twigs, eyes of stone and a wide smile.
    """)
    t.say("""
        But something was missing. "He looks cold," said {h}. {h.He} thought for a moment and went to fetch {h.his} own {o.full}.
        "He needs one more thing," said {f.name}. {h} {h.ran} home and came back with {o.a}.
    """)
    if hat.noun in ("hat", "bucket"):
        t.say("They put it on the snowman's head, and now he looked very fine.\nOn top of the snowman's head it looked just right.")
    else:
        t.say("They put it around the snowman's shoulders, and now he looked very fine.\nThey wrapped it around him, and it looked just right.")
    t.par()
    t.say("""
        "Good evening, snowman," said {h} when it grew dark. And it looked as if the snowman smiled.
        In the afternoon the wind grew cold, and their noses turned red. "Time to go in," said {f.name}.
    """)
    t.say("""
        Then they sat by the warm fire with {food.a}, and outside they could see their snowman.
        Inside it was warm. They shared {food.a} and watched the snow fall.
    """)
    t.par()
    t.say("""
        In spring the snowman melted, and only the {o} was left in the grass. "Goodbye," said {h}. "See you next winter."
        One warm day in spring the snowman was gone. {h} was a little sad. "He has only gone home to the clouds," said {f.name}.
        "I hope that he never melts," said {h}. "He will," said {f.name}, "but then there will be flowers."
    """)
    t.cosy(0.4)


def handmade_gift(t: Teller) -> None:
    t.cast()
    t.item("o", GIFTS)
    t.helper()
    who = t.pick("who", "grandmother", "grandfather", "mother", "father", "aunt", "uncle")
    she = who in ("grandmother", "mother", "aunt")
    t.slots.update(their="her" if she else "his", They="She" if she else "He", they="she" if she else "he", them="her" if she else "him")
    t.about("who made a present | who made {o.a} | who wanted to give a present to {h.his} {who} | who had no money", "{w.a} | a present | {h.his} {who}", "a present | a birthday present | a gift made by hand | giving a present")
    t.begin()
    t.say("""
        Soon it would be the birthday of {h.his} {who}.
        {h} loved {h.his} {who} very much, and in one week it was {their} birthday.
    """)
    t.par()
    t.say("""
        {h} wanted to buy a present, but {h.he} had only one small coin. In the shop everything was too dear.
        "I will buy the best present in the world," said {h}. But when {h.he} counted {h.his} money, there was almost nothing.
    """)
    t.say("""
        {h} walked past {w.work} with {h.his} head down. "Why so sad?" asked {w}.
        On the way home {h.he} met {w.a}. "You look as if it were raining," said {w}.
    """)
    t.say("""
        "I have no money for a present," said {h}. {w} smiled. "The best presents cannot be bought," said {w}. "What would make {their} day nicer?"
        {h} told {w} about it. "Then make something yourself," said {w}. "You can use my tools."
    """)
    t.par()
    t.say("""
        {h} thought about it all night. "I will make {o.a}!" {h.he} said in the morning.
        Then {h} had an idea. "I know! {o.a} would be just right," {h.he} said.
    """)
    t.say("""
        {h.He} worked on it every day after {h.his} [chores|nap|breakfast]. The first try went wrong, and so did the second. But the third one was good.
        It was hard work. {h.He} had to begin again three times. But little by little it grew.
    """)
    t.say("""
        On the last evening {h} looked at it. It was a bit crooked. "What if it is not good enough?" {h.he} thought.
        At last it was done. It was not perfect, but {h} had put {h.his} whole heart into it.
    """)
    t.par()
    t.say("""
        On the birthday there were many presents, and some were big and shiny. {h} gave {h.his} last of all. {h.His} {who} opened it and was silent for a moment.
        When the day came, {h} held out the present with a beating heart. {h.His} {who} took it and looked at it from all sides.
    """)
    t.say("""
        "You made this for me?" {they} asked. "It is the most beautiful {o} that I have ever had." And {they} hugged {h} for a long time.
        "This is the best present of all," {they} said, "because you gave me your time." And {they} hugged {h} tight.
    """)
    t.say("""
        The {o} had a place of honor from that day on.
        And {h} was the happiest one at the party.
        A gift from the heart is never too small.
    """)


def fair(t: Teller) -> None:
    t.cast(traits=(*GOOD, "proud", "impatient"))
    f = t.friend()
    food = t.food()
    t.slots.update(i1=food.parts[0], i2=food.parts[1], i3=food.parts[2])
    t.about("who baked for the fair | who wanted to win the prize at the fair | and {food.a} | at the fair", "{food.a} | a {f.noun} | a contest", "a contest | the summer fair | a cooking contest | {food.a}")
    t.begin()
    t.say("""
        Once a year there was a big fair, and whoever brought the best food won a golden spoon.
        {h} loved to cook, and {h.he} dreamed of winning the golden spoon at the fair.
    """)
    t.par()
    t.say("""
        This year {h} wanted to make {food.a}. {h.He} got {i1}, {i2} and {i3} and was up before the sun.
        "I will make {food.a}," said {h}, and bought {i1}, {i2} and {i3}.
    """)
    t.say("""
        Everything went well. But on the way to the fair, {h} stumbled, and it all fell into the grass.
        It smelled wonderful. But when {h} turned around for a moment, a gust of wind blew it off the table.
    """)
    t.say("""
        "Now it is all over," said {h}, and @hsad. There was only one hour left.
        {h} looked at the mess and could not say a word.
    """)
    t.par()
    t.say("""
        {f.name}, a {f.noun}, had seen it. "I have some {i2}," {f.he} said. "And my neighbor has some {i1}. Come, we will make it again!"
        Then {f.name} came, a {f.noun} who wanted to win the golden spoon, too. "Take half of my {i1} and my {i2}," said {f.name}. "It is no fun to win alone."
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        They worked side by side as fast as they could. There was no {i3} left, so they took [a little honey|a bit of mint|some wild berries] instead.
        {h} stirred and {f.name} tasted. "Something is missing," said {f.name}, and added [a little honey|a bit of mint|some wild berries].
    """)
    t.say("""
        They arrived just as the bell rang. The judges tasted. They looked at each other. They tasted again.
        At the last moment they put it on the table. The judges took a bite and were silent.
    """)
    t.par()
    if t.rng.random() < 0.55:
        t.say("""
            "We have never tasted anything like this," they said, and gave the golden spoon to {h} and {f.name} together.
            "This is the winner!" called the oldest judge. {h} held the golden spoon high and said, "It belongs to both of us."
        """)
    else:
        t.say("""
            It was not the winner. The golden spoon went to an old [beaver|goose|goat] with a carrot soup. But {h} and {f.name} sat in the grass and ate what was left, and it was delicious.
            The golden spoon went to somebody else. "Are you sad?" asked {f.name}. "No," said {h}, and was surprised that it was true. "It was the nicest morning of the year."
        """)
    t.say("""
        And from that day on they cooked together every Sunday.
        Two cooks with one heart make the best meal.
        And the recipe is their secret to this day.
    """)


def bedtime(t: Teller) -> None:
    t.cast(traits=("sleepy", "playful", "curious", "dreamy", "tiny", "quiet", "cheerful"))
    g = t.pick("g", "mother", "father", "grandmother", "grandfather")
    she = g in ("mother", "grandmother")
    t.slots.update(they="she" if she else "he", They="She" if she else "He")
    t.item("o", tuple(x for x in THINGS if x.noun in ("teddy bear", "blanket", "lantern", "music box", "book", "doll")))
    t.about("who could not sleep | who did not want to go to bed | at bedtime | who was not tired", "{h.his} {g} | {o.a}", "bedtime | going to sleep | a quiet night | falling asleep")
    t.begin()
    t.par()
    t.say("""
        One night {h} could not sleep. {h.He} turned to the left, and {h.he} turned to the right.
        One evening it was time for bed. "I am not tired," said {h}.
        It was late, and all of {s} was dark. Only {h} was still awake.
    """)
    t.say("""
        {h} counted ten sheep, but they would not stand still.
        {h.He} closed {h.his} eyes, but they opened again all by themselves.
        {h.He} lay on {h.his} back and listened to the wind.
    """)
    t.say("""
        "I am too warm," said {h}, and {h.his} {g} opened the window. "Now I am too cold," said {h}, and {h.his} {g} came with a warm drink.
        "I am thirsty," said {h}. So {h.his} {g} brought a cup of water. "And I want my {o.full}," said {h}. So {they} brought that, too.
        "It is too dark," said {h}. So {h.his} {g} let a little moonlight in. "It is too quiet," said {h}. So {they} hummed a song.
    """)
    t.par()
    t.say("""
        Then {h.his} {g} sat down on the edge of the bed. "Let us say good night to everything," {they} said.
        "Shall I tell you what the others are doing now?" asked {h.his} {g}. {h} nodded.
    """)
    t.say("""
        "The birds have put their heads under their wings. The fish are standing still in the water. The [bees|bears] are dreaming of honey."
        "Down at {p} it is quiet. At {q} the beetles have closed their eyes. Even the wind has gone to bed."
        "Good night, old trees. Good night, soft grass. Good night, little stars, one and two and three."
    """)
    t.say("""
        "And the moon?" asked {h} with a yawn. "The moon stays awake and watches over you," said {h.his} {g}.
        "Who is still awake?" asked {h}. "Only you and I," said {h.his} {g}, "and soon only I."
    """)
    t.par()
    t.say("""
        {h} wanted to ask one more thing. But the question was already a dream.
        {h} held {h.his} {o} tight. {h.His} eyes grew heavy, and then they were closed.
        There was no answer. {h} was asleep.
    """)
    t.say("""
        {h.His} {g} smiled and went out on quiet feet.
        The stars shone over {s} all night long.
        And in the dream there was a boat, and the boat sailed over {s} to the moon.
    """)


def invention(t: Teller) -> None:
    t.cast(traits=("clever", "curious", "dreamy", "playful", "lazy", "impatient", "funny"))
    f = t.friend()
    machine, part, oops, good = t.rng.choice((
        ("a machine that picks apples", "a net and a long spring", "threw the apples over the fence, one after the other", "an apple-throwing game, and everybody wanted to play"),
        ("a machine that washes dishes", "a wheel, three brushes and a hose", "sprayed water all over the place", "a wonderful shower for a hot summer day"),
        ("a machine that wakes you up", "a bell, a string and a feather", "rang in the middle of the night", "a good alarm, because just then the goats were running away"),
        ("a flying chair", "twenty balloons and a chair", "flew up to the nearest tree and got stuck there", "the best seat for watching the sunset"),
        ("a machine that sweeps the floor", "four brooms and a wheel", "ran out and swept the whole road", "a clean road for the big summer parade"),
        ("a boat on wheels", "four wheels and an old tub", "rolled down the hill faster than anyone could run", "the fastest ride in the land, and everybody stood in line for it"),
        ("a machine that makes music", "pots, pans and a bicycle wheel", "played so loud that the leaves fell off the trees", "a great help in autumn, when the leaves had to come down anyway"),
    ))
    t.slots.update(machine=machine, part=part, oops=oops, good=good)
    t.about("who built a machine | who built {machine} | who liked to build things | who was an inventor", "{machine} | a {f.noun} | a strange machine", "an invention | {machine} | a machine | mistakes")
    t.begin()
    t.say("""
        {h} loved to build things. {h.His} {h.home} was full of screws, wheels and string.
        Wherever {h} went, {h.he} picked up old things. "One can always use that," {h.he} said.
    """)
    t.par()
    t.say("""
        @day {h} had a great idea. "I will build {machine}!" {h.he} said. {h.He} took {part} and set to work.
        "What the world needs is {machine}," {h} said one day. So {h.he} got {part} and began to build.
    """)
    t.say("""
        {f.name}, a {f.noun}, looked on. "Are you sure that it will work?" asked {f.name}. "Quite sure," said {h}.
        For three days there was hammering and sawing. On the third day {f.name}, a {f.noun}, came to see it.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        "Watch this!" said {h}, and pulled the string. There was a click and a clack. And then the thing {oops}.
        {h} turned the wheel. First nothing happened. Then it began to shake, and it {oops}.
    """)
    t.say("""
        {h} went red. "That is not what it should do," {h.he} said, and wanted to take it all apart.
        Everything was a mess. "I am a bad inventor," said {h}, and @hsad.
    """)
    t.par()
    t.say("""
        But {f.name} was laughing. "Wait!" {f.he} said. "Do you not see what you have made? It is {good}!"
        "Wait a moment," said {f.name}, who had begun to smile. "It is not what you wanted. But it is {good}."
    """)
    t.say("""
        And so it was. Friends and neighbors came from far away to see it, and {h} was proud again.
        {h} looked at it in a new way. It was true! "Sometimes a mistake is a present," {h.he} said.
    """)
    t.say("""
        "What will you build next?" asked {f.name}. "I do not know yet," said {h}, "but I hope that it goes wrong just as well."
        And since then {h} is not afraid of mistakes.
        The best ideas often begin with a mistake.
    """)


PLOTS: tuple[Plot, ...] = (helping_worker, helping_worker, snow_day, handmade_gift, fair, bedtime, invention)
