"""Plots about living together: friends, sharing, quarrels, visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import CARRIED, GOOD, THINGS, TOYS

if TYPE_CHECKING:
    from text import Plot, Teller


def new_friend(t: Teller) -> None:
    t.cast(traits=(*GOOD, "lonely", "shy", "lonely"))
    f = t.friend(trait=t.rng.choice(("shy", "lonely", "quiet")))
    toy = t.item("o", TOYS)
    t.about("who wanted a friend | who found a friend | who made a new friend | and a new friend", "a {f.noun} | {f.a} | {o.a}", "friendship | a new friend | two friends | making friends")
    t.begin()
    t.say("""
        {h} wished for a friend more than for anything else.
        But {h} had nobody to play with.
        {h} often played alone {p.at}.
    """)
    t.par()
    t.say("""
        @day somebody new came to {s}. It was a {f.noun} named {f.name}.
        @day {h} saw a {f.noun} {p.at}. {h.He} had never seen {f.him} before. {f.His} name was {f.name}.
        @day {h} heard a small sound {p.at}. There sat a {f.noun}, all alone. {f.His} name was {f.name}.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        {f.name} looked at the ground and did not say a word.
        {f.name} hid behind a [bush|stone] and only {f.his} nose could be seen.
        "I do not know anyone here," said {f.name} in a very small voice.
    """)
    t.say("""
        {h} did not know what to say. What if {f.he} wanted to be alone?
        {h} stood there and felt {h.his} heart beat fast. It is not easy to speak first.
        {h} wanted to say something nice, but the words would not come out.
    """, 0.7)
    t.par()
    t.say("""
        Then {h} had an idea. {h.He} {h.ran} home and came back with {o.a}. "Do you want to play with me?" {h.he} asked.
        So {h} went home and fetched {o.a}. "We can play with this together, if you like," {h.he} said.
        "I have {o.a}," said {h} at last. "It is much more fun with two. Will you try?"
    """)
    t.say("""
        {f.name} looked up. "Really? With me?" {f.he} asked. "With you," said {h}.
        Slowly, {f.name} came closer. "I would like that," {f.he} said.
        At first {f.name} only watched. Then {f.he} smiled, a very small smile.
    """)
    t.say("""
        They took turns with the {o}, and soon both of them were laughing.
        They played with the {o} all afternoon, and nobody felt shy any more.
        First {h} had a turn, then {f}. They played until the shadows grew long.
    """)
    t.say("""
        {f} showed {h} how to [whistle with a leaf|find round stones|walk backward without falling|make a crown of flowers], and {h} showed {f} the best places in {s}.
        {f} knew a funny song, and {h} knew where the sweetest berries grew.
        "I was afraid that nobody would like me," said {f.name}. "I was afraid of that, too," said {h}.
    """)
    t.par()
    t.say("""
        When it was time to go home, {f.name} asked, "Will you come again tomorrow?" "Tomorrow and every day," said {h}.
        In the evening they said good night. "See you tomorrow!" called {h}. "See you tomorrow!" called {f.name}.
        "Today I have found the best thing of all," {h} said at home. "What is it?" they asked. "A friend," said {h}.
    """)
    t.say("""
        And from that day on, neither of them was alone.
        A friend is only one kind word away.
        It takes one brave little word to make a friend.
        They have been friends ever since.
    """)


def storm(t: Teller) -> None:
    t.cast(traits=(*GOOD, "brave", "grumpy", "lonely"))
    f = t.friend(trait=t.rng.choice(("tiny", "shy", "cheerful", "kind", "sleepy")))
    t.food()
    t.about("in a storm | and a storm | who helped somebody in a storm | who opened the door", "a storm | a {f.noun} | a stormy night", "a storm | a stormy night | helping others | bad weather")
    t.begin()
    t.say("""
        {h.His} {h.home} was small, but it was warm and dry.
        {h} was proud of {h.his} cosy {h.home}.
        In the {h.home} there was just enough room for one.
    """)
    t.par()
    t.say("""
        One evening dark clouds came over {s}. The wind began to [howl|roar], and rain fell in big drops.
        One afternoon the sky turned black. First came the wind, then the rain, and then the thunder.
        One night a great storm came. The trees bent, and the rain beat against the {h.home}.
    """)
    t.say("""
        {h} [closed everything tight|sat down in the warmest corner] and was glad to be at home.
        "What a night!" said {h}. "It is good to be inside."
    """)
    t.say("""
        Then there was a knock. Knock, knock, knock!
        Then {h} heard a voice outside. "Help! Please, help!"
        Suddenly somebody called out in the rain.
    """)
    t.say("""
        There stood a {f.noun}, wet from head to toe. "My name is {f.name}," said the {f.noun}. "The wind has blown my [home|roof] away."
        It was {f.name}, a {f.trait} {f.noun}. "The water has come into my {f.home}," said {f.name}. "I have nowhere to go."
        A {f.noun} named {f.name} was there, shaking with cold. "I lost my way in the dark," {f.he} said.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        {h} looked at the small room. Was there space for two? "Come in," {h.he} said. "We will make room."
        {h} did not think for long. "Come in quickly," {h.he} said. "It is warm in here."
        "There is only one bed," thought {h}. But then {h.he} saw how {f} was shaking. "Come in," {h.he} said.
    """)
    t.say("""
        {h} gave {f} a dry blanket and shared {food.a}. They listened to the thunder and told each other stories.
        There was {food.a}, and {h} gave {f} the bigger part. Soon {f.name} was warm again, and they sang until the thunder was gone.
        They sat close together and ate {food.a}. With two, the thunder did not sound so loud.
    """)
    t.par()
    t.say("""
        In the morning the sky was blue, and a rainbow stood over {s}.
        When they woke up, the storm was over. Every leaf was shining in the sun.
        The next morning the rain had stopped and the birds were singing.
    """)
    t.say("""
        "Now I will help you," said {h}. They worked side by side, and by evening {f.name} had a new roof over {f.his} head.
        {h} helped {f} to mend {f.his} {f.home}. It took the whole day, but it was good work.
        "How can I thank you?" asked {f.name}. "Stay for breakfast," said {h}, and so {f.he} did.
    """)
    t.say("""
        Since then, when clouds come, the two friends sit together and are not afraid.
        A small home is big enough when the heart is big.
        And whenever it rains, they remember how they met.
        "It was a bad storm," {h} often said, "but it brought me a good friend."
    """)


def sharing(t: Teller) -> None:
    t.cast(traits=("greedy", "proud", "grumpy", "lonely", "cheerful", "kind", "playful"))
    f = t.friend()
    t.food()
    t.about("who did not want to share | who learned to share | who had {food.a} | and {food.a}", "{food.a} | a {f.noun}", "sharing | learning to share | {food.a} | giving")
    t.begin()
    t.par()
    t.say("""
        @day {h} had {food.a}. It smelled so good that {h.his} mouth watered.
        @day {h} made {food.a}. It had taken the whole morning.
        @day somebody left {food.a} in front of {h.his} {h.home}, with a note that said: "For {h.name}."
    """)
    t.say("""
        "This is all for me," said {h}, and carried it to {p}, where nobody could see.
        "I will eat it alone, every bit of it," thought {h}. {h.He} sat down {p.at} and looked around to see if anyone was near.
        {h} wanted to keep it all. So {h.he} took it and hid {p.at}.
    """)
    t.par()
    t.say("""
        Just then {f.name}, a {f.noun}, came along. {f.name} had walked a long way and was very hungry.
        Then a {f.noun} named {f.name} came down the path. "Hello, {h.name}," said {f.name}. "What smells so good?"
        Along came a little {f.noun} called {f.name}. {f.His} stomach was rumbling.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        "Nothing," said {h}, and hid the food behind {h.his} back. {f.name} [nodded sadly|looked at the ground] and went on.
        "There is not enough for two," said {h}. "I understand," said {f.name} quietly, and sat down a little way off.
        {h} turned away and began to eat quickly. {f.name} did not ask. {f.He} only sat there and looked at the clouds.
    """)
    t.say("""
        {h} ate a little. But somehow it did not taste as good as before. It is strange to eat when somebody else is hungry.
        {h} took a bite. It was good, but it was not as good as {h.he} had thought. {h.His} heart felt heavy.
        But now the food tasted of nothing at all. {h} thought of {f.name}, and {h.he} felt a little ashamed.
    """)
    t.par()
    t.say("""
        "Wait!" called {h}. "Come back! There is enough for both of us." And {h} gave {f.name} {food.part}.
        At last {h} stood up and went to {f.name}. "I am sorry," {h.he} said. "Here, have {food.part}. Have two, if you like."
        "{f.name}," said {h}, "would you like {food.part}? I do not want to eat alone."
    """)
    t.say("""
        {f.name}'s face lit up. They ate together and talked and laughed, and now it tasted wonderful.
        They sat side by side and ate until nothing was left. Never had anything tasted so good.
        "It is the best I have ever had," said {f.name}. And {h} found that it was true.
    """)
    t.par()
    t.say("""
        The next day {f.name} came back with a basket full of [nuts|cherries|pears|sweet berries]. "Now I want to share with you," {f.he} said.
        "Half of it was enough for me," {h} said that evening. "And I got a friend for the other half."
        "Why did it taste better when there was less of it?" asked {h}. "Because we shared it," said {f.name}.
    """)
    t.say("""
        What you share, you enjoy twice.
        Since that day {h} has never eaten alone.
        And {h} learned that sharing makes a small meal big.
    """)


def surprise(t: Teller) -> None:
    t.cast(traits=(*GOOD, "grumpy", "impatient"))
    f = t.friend()
    t.food()
    t.about("who thought that everybody had forgotten the birthday | and a birthday surprise | and a secret | and a surprise party", "a {f.noun} | a secret | {food.a}", "a birthday | a secret | a surprise party | a birthday party")
    t.begin()
    t.say("""
        The best day of the year was coming: {h.his} birthday.
        {h} had been counting the days, because it was almost {h.his} birthday.
    """)
    t.par()
    t.say("""
        On the morning of the big day, {h} woke up early and {h.ran} outside. Soon {h.he} met {f.name}, the {f.noun} from next door. "Good morning," said {f.name}, and nothing more.
        When the day came, {h} went to {p}, where {f.name} the {f.noun} was sitting. "Do you know what day it is?" asked {h}. "A day like any other," said {f.name}, and hurried away.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        At {q} it was the same. The neighbors were whispering, and when {h} came near, they stopped.
        {h} saw that everybody was carrying something, but nobody wanted to say what it was. "It is a secret," they said.
        Everybody {h} met was in a hurry. "No time, no time!" they called.
    """)
    t.say("""
        "They have forgotten me," thought {h}, and @hsad.
        "Nobody remembers my birthday," said {h} to the clouds. {h.He} sat {q.at} all afternoon.
    """)
    t.par()
    t.say("""
        In the evening {h} walked home slowly. It was dark in the {h.home}. {h.He} stepped inside, and suddenly there was light everywhere.
        When the sun was low, {f.name} came running. "Quick, {h.name}, come to {r}! Something has happened!" {h} {h.ran} as fast as {h.he} could.
    """)
    t.say("""
        "Surprise!" called all the friends. There were lanterns and flowers, and in the middle stood {food.a}.
        "Happy birthday!" cried everybody. They had hung up paper stars, and {f.name} had made {food.a}.
    """)
    t.say("""
        "You did not forget!" said {h}. "Forget?" laughed {f.name}. "We have been busy all day, and it was so hard to keep quiet!"
        {h} did not know what to say. "So that was the secret!" {h.he} said at last. "That was the secret," said {f.name}.
    """)
    t.par()
    t.say("""
        They ate and sang and danced until the stars came out.
        They played games until the moon was high, and {h} laughed the loudest of all.
        Then they all ate together, and there was a song for {h}.
    """)
    t.say("""
        It was the best birthday that {h} ever had.
        "Next time somebody whispers," thought {h}, "I will not be sad. It may be something nice."
        And {h} knew that friends do not forget.
    """)


def quarrel(t: Teller) -> None:
    t.cast(traits=("proud", "playful", "impatient", "cheerful", "greedy", "funny", "brave"))
    f = t.friend(trait=t.rng.choice(("proud", "playful", "cheerful", "brave")))
    t.item("o", TOYS)
    t.helper()
    t.about("who had a quarrel | and a {f.noun} who wanted the same {o} | who learned to take turns | and {o.a}", "a {f.noun} | {o.a} | {w.a}", "a quarrel | taking turns | making up | two friends and one {o}")
    t.begin()
    t.say("""
        {h.His} best friend was {f.name}, {f.a}. They did everything together.
        {h} had a good friend named {f.name}, {f.a}. They met every day {p.at}.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        @day they found {o.a} {q.at}. "I saw it first!" said {h}. "No, I saw it first!" said {f.name}.
        @day there was {o.a} {q.at}, and it belonged to nobody. "Mine!" cried {h}. "Mine!" cried {f.name}.
    """)
    t.say("""
        {h} pulled on one side, and {f.name} pulled on the other. Then there was a crack, and {o.broke}.
        They both pulled at it as hard as they could, until {o.broke}.
    """)
    t.say("""
        "That is your fault!" they both shouted. And {h} went home to the left, and {f.name} went home to the right.
        Now nobody could use the {o}, and they would not look at each other.
    """)
    t.par()
    t.say("""
        The next day was long. {h} played alone, but it was no fun. On the other side of {s}, {f.name} played alone, and it was no fun, either.
        {h} was angry for one day. On the second day {h.he} was only sad.
    """)
    t.say("""
        {w.a} saw {h.his} face. "What is more important," asked {w}, "the {o} or {f.name}?" {h} did not have to think for long.
        "It is only a {o}," said {w.a}. "You can find another {o}. But can you find another {f.name}?"
    """)
    t.say("""
        {h} {h.ran} to {f.name}. On the way they almost bumped into each other, because {f.name} was running, too. "I am sorry," they said, both at once. Then they had to laugh.
        So {h} took the {o} and went to {f.name}. "I am sorry," said {h}. "I am sorry, too," said {f.name}.
    """)
    t.par()
    t.say("""
        Together they {o.mend}. "You may have it today," said {h}, "and I will have it tomorrow." "And on Sunday we both have it," said {f.name}.
        {w} helped them, and together they {o.mend}. Then they took turns, and it was twice as much fun.
    """)
    t.say("""
        They still quarrel sometimes. But never for longer than it takes to boil an egg.
        A {o} can be mended, and so can a friendship, if somebody says sorry.
        And whoever had the {o} always called the other one to play.
    """)


def letter(t: Teller) -> None:
    t.cast()
    w = t.helper()
    f = t.friend(trait=t.rng.choice(("lonely", "grumpy", "shy", "quiet")))
    t.about("who wrote a letter | who brought a letter | and a letter | who carried a letter to a {f.noun}", "a letter | a {f.noun} | {f.a} | {w.a}", "a letter | a kind letter | a message | writing a letter")
    t.begin()
    t.say("""
        Near {p} lived {f.name}, {f.a}, who never had visitors and never got any letters.
        At the edge of {s}, near {p}, lived {f.name}, {f.a}. Nobody ever went there.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        "Why does nobody visit {f.name}?" {h} asked {w}. "Nobody ever has," said {w}.
        "Everybody gets letters," {h} said to {w}, "but {f.name} never gets one." {w} nodded. "Then somebody has to write the first one."
    """)
    t.par()
    t.say("""
        So {h} sat down and wrote: "Dear {f.name}, I like [your garden|your songs|the way you walk|your blue door]. Would you like to have tea with me? Your neighbor {h.name}."
        {h} took paper and a pencil and wrote: "Dear {f.name}, how are you? The [daisies|cherries|first stars] are out, and I thought of you. Your friend {h.name}."
    """)
    t.say("""
        It was a windy day, and the letter flew away. {h} chased it past {q} and past {r} until {h.he} caught it at last.
        On the way it began to rain, and {h} hid the letter under a big leaf, so that it would stay dry.
        The way was long, and it led past {q} and up a steep path. But {h} did not turn back.
    """)
    t.say("""
        {h} put the letter in front of the {f.home}, called "Post!" and hid behind a bush.
        At last {h} stood in front of the {f.home} and put the letter down. Then {h.he} waited behind a tree.
    """)
    t.par()
    t.say("""
        {f.name} came out and looked left and right. {f.He} read the letter once. {f.He} read it twice. And then {f.name}, who never smiled, smiled.
        {f.name} picked up the letter. "For me?" {f.he} said. {f.He} read it slowly, and a tear ran down {f.his} face. But it was a happy tear.
    """)
    t.say("""
        {h} came out of {h.his} hiding place. "Did you write this?" asked {f.name}. "I did," said {h}. "Then come in," said {f.name}, "before the tea gets cold."
        The next day there was a letter in front of {h.his} {h.home}. It said: "Dear {h.name}, nobody has ever written to me before. Please come for tea. Your friend {f.name}."
    """)
    t.say("""
        Since then a letter goes back and forth every week, and {f.name} is not {f.trait} any more.
        A few kind words can open any door.
        And when the two of them drank tea together, they found that they both loved the same songs.
    """)


def kind_monster(t: Teller) -> None:
    t.cast(traits=("brave", "curious", "kind", "gentle", "honest", "tiny"), kinds="people")
    if t.rng.random() < 0.3:
        t.helper()
    monster = t.pick("monster", "dragon", "giant", "troll", "sea monster" if t.setting.short in ("the village", "the island") and "sea" in t.setting.place + t.setting.short + "island" else "dragon")
    home = {"dragon": "a cave above {s}", "giant": "the mountain behind {s}", "troll": "the hole under the old bridge", "sea monster": "the deep water of the bay"}[str(monster)]
    t.slots["lair"] = t.expand(home)
    help_ = {"dragon": "light the ovens on cold mornings", "giant": "lift the heavy stones when a house was built", "troll": "keep the bridge strong and clean", "sea monster": "lead the boats home through the fog"}[str(monster)]
    t.slots["help"] = help_
    name = t.rng.choice(("Ember", "Gorm", "Mumble", "Bo", "Fern", "Ash", "Humphrey", "Dorrin"))
    t.slots["m"] = name
    t.about("who met a {monster} | who was not afraid of the {monster} | and a {monster} | and a lonely {monster} | who made friends with a {monster}", "a {monster} | a lonely {monster} | a friendly {monster}", "a {monster} | a friendly {monster} | a lonely {monster} | not judging by looks")
    t.begin()
    t.say("""
        In {lair} lived a {monster}, and everybody was afraid of it.
        People said that a terrible {monster} lived in {lair}.
    """)
    t.say("""
        "Do not go there," they told the children. "It is dangerous."
        At night they heard it howl, and they locked their doors.
        Nobody had ever seen it, but everybody had a story about it.
    """)
    t.par()
    t.say("""
        @day {h} heard a strange sound. It did not sound angry. It sounded sad. "Somebody is crying," thought {h}, and {h.he} went to see.
        "Has anyone ever talked to it?" asked {h}. Nobody had. So {h} packed [a cake|some apples|some bread and honey] and set out alone.
    """)
    t.say("""
        There sat the {monster}, as big as a house. Its tears were as big as buckets.
        {h}'s heart beat fast. Then {h.he} saw the {monster}. It was huge, but its eyes were gentle and wet.
    """)
    t.say("""
        "Why are you crying?" asked {h}. The {monster} jumped. "You are not running away?" it asked. "Everybody always runs away."
        "Hello," said {h}. "My name is {h.name}." "My name is {m}," said the {monster} in surprise. "Nobody ever asked me."
    """)
    t.par()
    t.say("""
        They talked all afternoon. The {monster} liked songs and [flowers|stories|honey cake], and more than anything it wished for a friend.
        {h} sat down and listened. "I only wanted to say hello to them," said the {monster}. "But my voice is so loud."
    """)
    t.say("""
        "Come with me," said {h}. The people screamed when they saw the {monster}. "Stop!" called {h}. "This is my friend."
        {h} went back and told the people everything. At first nobody wanted to believe it. But then they saw how the {monster} carried {h} on its back, as carefully as an egg.
    """)
    t.say("""
        Soon they found out that the {monster} could {help}.
        And it was good to have a {monster} for a friend, because it could {help}.
    """)
    t.par()
    t.say("""
        Now nobody is afraid any more. And on summer evenings the children ride on the {monster}'s back.
        "How could we be afraid of you?" the people ask today. And the {monster} laughs, but softly, so that the windows do not break.
        And {h} knew that you must not believe a story before you have looked for yourself.
    """)


def new_home(t: Teller) -> None:
    t.cast(traits=("shy", "quiet", "curious", "lonely", "gentle", "grumpy", "dreamy"))
    f = t.friend()
    t.item("o", CARRIED)
    t.about("who moved to a new home | and a new home | who missed the old home", "a {f.noun} | a new home | {o.a}", "a new home | moving | being new")
    t.slots["place2"] = t.rng.choice(("far away, behind the blue mountains", "on the other side of the lake", "in a big city", "in the south, where it is always warm"))
    t.begin()
    t.say("""
        But {h} had not always lived there. Before, {h.his} home had been {place2}.
        {h} was new there. {h.His} old home was {place2}.
    """)
    t.par()
    t.say("""
        Everything was strange. The [bed|floor] creaked, the wind sounded different, and nobody knew {h.his} name.
        "I want to go home," said {h} every evening. Here even the rain smelled different.
        {h} sat {p.at} and thought of {h.his} old friends. @sad.
    """)
    t.say("""
        The only thing from the old home was {o.a}. {h} held it tight.
        {h} had brought only one thing along: {o.a}.
    """)
    t.par()
    t.say("""
        @day a {f.noun} came by. "Hello! I am {f.name}," said the {f.noun}. "What have you got there?"
        @day {h} was sitting {p.at} with the {o}. "That is a fine {o}," said a voice. It was {f.name}, a {f.noun} who lived nearby.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        {h} told {f.name} about the {o} and about {h.his} old home. {f.name} listened to every word. "It sounds beautiful," {f.he} said. "May I show you something beautiful here?"
        "It is from my old home," said {h}. "I miss it very much." "I can understand that," said {f.name}. "Shall I show you my favorite places?"
    """)
    t.say("""
        They went to {q}, where one could see the sun go down. They went to {r}, where the echo answered when you called.
        {f.name} showed {h} {q} and {r}, and a secret place where the sweetest berries grew.
    """)
    t.say("""
        At {r} they met the others. "This is {h.name}," said {f.name}. "{h.He} comes from far away and knows many stories." Everybody wanted to hear them.
        "Everyone, this is my friend {h.name}," {f.name} told the others. And suddenly they all knew {h.his} name.
    """)
    t.par()
    t.say("""
        That evening the [bed|floor] creaked again. But now it sounded almost like a song.
        When {h} came home, the wind sounded like an old friend.
        "How was your day?" they asked at home. "Good," said {h}. "I think I live here now."
    """)
    t.say("""
        A home is not only a place. A home is where your friends are.
        {h} still misses the old home now and then. But {h.he} would miss the new one, too.
        And the {o} got a place of honor in the new home.
    """)


def broken_thing(t: Teller) -> None:
    t.cast(traits=(*GOOD, "impatient", "playful"))
    f = t.friend(trait=t.rng.choice(("kind", "gentle", "quiet", "proud")))
    t.item("o", tuple(x for x in THINGS if x.noun not in ("ball", "whistle", "key", "shell", "button", "scarf")))
    t.about("who broke {o.a} | who told the truth | and a broken {o} | who mended {o.a}", "a broken {o} | a {f.noun} | {o.a}", "a broken {o} | telling the truth | saying sorry | being honest")
    t.begin()
    t.say("""
        {h.His} best friend was {f.name}, a {f.noun}, and {f.name} had {o.a}.
        Next door lived {f.name}, a {f.noun}. {f.name} had {o.a} and was very proud of it.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        {f.name} had got it from {f.his} grandmother and liked to {o.use}.
        Every day {f.name} {o.used}.
    """)
    t.par()
    t.say("""
        @day {f.name} was not at home, and the {o} was there all alone. "I will only touch it once," said {h}.
        @day {h} was playing with the {o} while {f.name} was away at {p}.
        @day {h} borrowed the {o} without asking.
    """)
    t.say("""
        But {h} was too wild, and {o.broke}. {h}'s heart stood still.
        Then it slipped and fell, and {o.broke}. "Oh no!" whispered {h}.
        {h} stumbled and fell, and then {o.broke}.
    """)
    t.say("""
        {h} was afraid. {h.He} hid the {o} {q.at} and {h.ran} home.
        "If I say nothing, nobody will know," thought {h}, and covered the {o} with leaves.
        {h} put the {o} back and hoped that nobody would see it.
    """)
    t.par()
    t.say("""
        In the evening {f.name} called, "My {o}! What has happened to my {o}?" {f.His} voice was so sad that {h} could not bear it.
        That night {h} could not sleep. Whenever {h.he} closed {h.his} eyes, {h.he} saw the broken {o}.
        At dinner {h} could not eat a bite. The secret was like a stone in {h.his} stomach.
    """)
    t.say("""
        So {h} went to {f.name}. "It was me," {h.he} said. "I broke your {o}, and I am very sorry."
        At last {h} took a deep breath and went to {f.name}. "I have to tell you something," {h.he} said. "I broke your {o}. I should have told you at once."
    """)
    t.say("""
        {f.name} was silent for a while. "I am sad about it," {f.he} said. "But I am glad that you told me the truth."
        {f.name} looked at {h} for a long time. "That was brave of you," {f.he} said. "Come, let us see if we can mend it."
    """)
    t.par()
    t.say("""
        They sat down together. Carefully {h} {o.mend}. It took the whole afternoon.
        {h} did not rest until it was whole again. With {f.name}'s help {h.he} {o.mend}.
    """)
    t.say("""
        The {o} was not like new, but it was good again. "Now I like it even better," said {f.name}, "because we have mended it together."
        You could see where it had been broken. "That is the place where it is strongest now," said {f.name}.
        When it was done, they both had to smile.
    """)
    t.say("""
        And that night {h} slept like a stone.
        The truth is sometimes hard to say, but it makes the heart light.
        From then on {h} always asked first.
    """)


PLOTS: tuple[Plot, ...] = (new_friend, storm, sharing, surprise, quarrel, letter, kind_monster, new_home, broken_thing)
