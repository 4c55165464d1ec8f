"""The plots: each casts a story and tells it from beginning to end, so that cause and effect hold together.

Slots: h hero, f friend, w worker, o thing, p q r places (`{p}` the place, `{p.at}` where in it), s the setting, food.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import GOOD, THINGS, TRAITS

if TYPE_CHECKING:
    from text import Plot, Teller

CARRIED = tuple(t for t in THINGS if t.noun not in ("sled", "wagon", "clock", "mirror"))
GIFTS = tuple(t for t in THINGS if t.noun in ("scarf", "cup", "spoon", "basket", "puppet", "spinning top", "toy boat", "blanket", "hat", "flute", "wagon"))
TOYS = tuple(t for t in THINGS if t.noun in ("kite", "ball", "toy boat", "wagon", "sled", "spinning top", "drum", "toy train", "doll", "puppet"))


def cosy(t: Teller) -> None:
    """A last sentence that fits every story."""
    t.say("""
        That night {h} slept better than ever before.
        In the evening the stars came out over {s}, and {h} fell asleep with a smile.
        And when the moon rose, {h} was already fast asleep.
        From that day on, {h} had a new story to tell.
        It was the best day that {h} could remember.
        And {h} never forgot that day.
        {h} went home to {h.his} {h.home}, tired and happy.
        And that is how it has been ever since.
        The sun went down behind {s}, and everything was quiet and good.
    """)


def lost_thing(t: Teller) -> None:
    t.cast()
    t.item("o", CARRIED)
    helper = t.rng.random() < 0.35
    f = t.helper("f") if helper else t.friend()
    t.about("who lost {o.a}\nwho lost {h.his} {o}\nand a lost {o}\nlooking for {h.his} {o}", f"a lost {{o}}\n{{o.a}}\n{'{f.a}' if helper else 'a {f.noun}'}", "a lost {o}\nlosing something\n{o.a} that was lost")
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
        But @day {h} woke up, and the {o} was gone.
    """.replace("But @day {h} woke up", "One morning {h} woke up"))
    t.say("""
        "Oh no! Where is my {o}?" cried {h}.
        "My {o}! I have lost my {o}!" said {h}, and @hsad.
        "It was here yesterday," said {h}. @sad.
    """)
    t.say("""
        {h} looked at home first, in every corner of the {h.home}. It was not there. {h.He} {h.ran} to {q} and looked all around. It was not there [either|, too, no {o}].
        First {h.he} searched {q.at}. There was nothing but [a few leaves|dust and sand|an old nail|a sleepy beetle]. Next {h.he} searched {p.at}. Nothing.
        {h} searched the whole morning. {h.He} looked {q.at}, and {h.he} looked {p.at}. The {o} was nowhere.
    """.replace(" [either|, too, no {o}]", " either"))
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
        if not helper and hasattr(f, "known"):
            f.known = f.noun != t.h.noun
    t.say("""
        "I have lost my {o.full}," said {h}. "I have looked everywhere."
        {h} told {f} about the {o.full}. "I do not know where to look any more," {h.he} said.
    """)
    t.say("""
        "[Let us think|Sit down and think]," said {f}. "When did you have it last?" {h} thought hard. "Yesterday I was at {r}," {h.he} said slowly. "Then that is where we will look!" said {f}.
        "I think I saw something {t.look} {r.at}," said {f}. "Come, I will show you."
        "Two can look better than one," said {f}. "Have you looked {r.at}?" {h} had not.
    """.replace("{t.look}", "{o.look}"))
    t.par()
    t.say("""
        They went to {r} together. And there, {r.at}, lay the {o}!
        Together they {went} to {r}. Something [shone|peeped out] {r.at}. It was the {o.full}!
        So they went to {r}, and they looked under every leaf. "Here it is!" called {f}. There was the {o}, [a little dusty but whole|wet but not broken|safe and sound].
    """.replace("{went}", "hurried"))
    t.say("""
        "Thank you! I would never have found it without you," said {h}, and @glad.
        @glad. "Thank you for your help," {h.he} said.
        {h} hugged the {o} and then hugged {f}. "Thank you," {h.he} said.
    """)
    t.say("""
        From then on {h} [always put the {o} back in its place|kept the {o} in a safe place], and {f} came to visit every day.
        "Next time you lose something, call me," said {f}, and they both laughed.
        {h} had found {h.his} {o} again, and a friend as well.
        After that {h} let {f} share the {o}, because joy is bigger when it is shared.
    """.replace("share the {o}", "use the {o} too") if not helper else """
        From then on {h} always put the {o} back in its place.
        "It is easier to find things with two," said {f}, and gave {h} {f.gift}.
        {h} had found {h.his} {o} again, and had made a friend as well.
    """)
    t.rng.random() < 0.5 and cosy(t)


def new_friend(t: Teller) -> None:
    t.cast(traits=(*GOOD, "lonely", "shy", "lonely"))
    f = t.friend(trait=t.rng.choice(("shy", "lonely", "quiet")))
    toy = t.item("o", TOYS)
    t.about("who wanted a friend\nwho found a friend\nwho made a new friend\nand a new friend", "a {f.noun}\n{f.a}\n{o.a}", "friendship\na new friend\ntwo friends\nmaking friends")
    t.begin()
    t.say("""
        {h} wished for a friend more than for anything else.
        But {h} had nobody to play with.
        {h} often played alone {p.at}.
    """)
    t.par()
    t.say("""
        @day somebody new came to {s}. It was a {f.noun} named {f.name}.
        @day {h} saw a {f.noun} {p.at}. {h.He} had never seen {f.him} before.
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
    t.about("in a storm\nand a storm\nwho helped somebody in a storm\nwho opened the door", "a storm\na {f.noun}\na stormy night", "a storm\na stormy night\nhelping others\nbad weather")
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
        @next the rain had stopped and the birds were singing.
    """.replace("@next the", "The next morning the"))
    t.say("""
        "Now I will help you," said {h}. Together they gathered branches and moss, and by evening {f.name} had a new home, right next door.
        {h} helped {f} to mend {f.his} {f.home}. It took the whole day, but it was good work.
        "How can I thank you?" asked {f.name}. "Stay for breakfast," said {h}, and so {f.he} did.
    """)
    t.say("""
        Since then, when clouds come, the two friends sit together and are not afraid.
        A small home is big enough when the heart is big.
        And whenever it rains, they remember how they met.
        "It was a bad storm," {h} often said, "but it brought me a good friend."
    """)


def helping_worker(t: Teller) -> None:
    t.cast()
    t.helper()
    t.about("who helped {w.a}\nand {w.a}\nwho helped the {w.noun}\nwho wanted to help", "{w.a}\na {w.noun}\n{w.a}", "helping\nhelping others\na helping hand\n{w.a}")
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


def sharing(t: Teller) -> None:
    t.cast(traits=("greedy", "proud", "grumpy", "lonely", "cheerful", "kind", "playful"))
    f = t.friend()
    t.food()
    t.about("who did not want to share\nwho learned to share\nwho had {food.a}\nand {food.a}", "{food.a}\na {f.noun}", "sharing\nlearning to share\n{food.a}\ngiving")
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
        They sat side by side and ate until the last crumb was gone. Never had anything tasted so good.
        "It is the best I have ever had," said {f.name}. And {h} found that it was true.
    """.replace("until the last crumb was gone", "until nothing was left"))
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


SKILLS = (
    # (skill, first try, why it fails, advice, practice, success)
    ("swim", "jumped into the water and splashed with arms and legs", "sank like a stone and came up coughing", "Do not fight the water. Lie on it, as if it were a bed", "floated a little longer every day", "swam all the way to the other side"),
    ("whistle", "blew and blew", "only made a wet little sound", "Do not blow so hard. Make a small round mouth and think of a bird", "tried it every morning, softly, softly", "whistled a whole song, and a bird answered"),
    ("dance", "jumped into the middle of the dance", "stepped on everybody's toes", "Listen to the music first. Your feet will know what to do", "listened to the drums and moved only one foot, then the other", "danced the whole evening without one wrong step"),
    ("paint", "painted a tree", "made it look like a broom", "Look at the tree for a long time before you paint it", "looked at leaves and branches and drew them every day", "painted a tree so fine that a bird wanted to sit in it"),
    ("skate on the ice", "ran onto the ice", "fell down with a bump after the first step", "Bend your knees, and do not look at your feet", "went round and round the edge, slowly at first", "made a big circle on the ice without falling"),
    ("bake bread", "mixed the flour and the water and put it in the oven at once", "got something as hard as a rock", "Bread needs time. Let it rest under a cloth until it has grown", "kneaded and waited, kneaded and waited", "pulled a round golden loaf out of the oven"),
    ("play the flute", "took a flute and blew", "made a noise so bad that the birds flew away", "Begin with one note. When it is beautiful, take the next", "played one note all day, and the next day another one", "played a song at the summer fair, and everybody was silent"),
    ("climb trees", "jumped at the biggest tree", "slid down again with scratched knees", "Begin with a small tree, and hold on with three before you move the fourth", "climbed the small trees first, then the bigger ones", "sat at the top of the tallest tree and saw the whole land"),
    ("read", "opened a big book", "saw only little black marks that made no sense", "Learn one letter a day. They are like friends, you have to meet them one by one", "looked for letters everywhere, on doors and on boxes", "read a whole page aloud, all alone"),
    ("sing", "opened wide and sang", "sounded like a rusty gate", "Do not shout. Sing as if you were telling somebody a secret", "sang quietly every night before sleeping", "sang so sweetly that even the crickets stopped to listen"),
    ("knit", "took wool and two needles", "made one big knot", "Make one row, and count as you go", "made a row every evening by the fire", "finished a long warm scarf"),
    ("juggle", "threw three apples into the air", "got all three of them on the head", "Take one apple first, then two, and the third one last", "threw one apple and caught it, a hundred times", "juggled five apples, and the children cheered"),
    ("tell stories", "began to tell a story", "forgot the end in the middle", "Know your ending first, and then walk to it step by step", "told a story to the moon every night", "told a story so well that nobody wanted to go to bed"),
    ("row a boat", "pulled at the oars with might and main", "only turned around in circles", "Pull with both arms at once, and look where you come from", "rowed a little farther every day", "rowed across the water and back again"),
    ("ride a bicycle", "sat on the bicycle and pushed off", "fell into a bush after two turns of the wheels", "Look ahead, and keep moving. It is standing still that makes you fall", "practiced up and down the path", "rode all the way around {s}"),
)


def learn_skill(t: Teller) -> None:
    t.cast(traits=(*GOOD, "impatient", "proud", "lazy"))
    by_worker = t.rng.random() < 0.3
    f = t.helper("f") if by_worker else t.friend(trait=t.rng.choice(("patient", "gentle", "wise", "kind")))
    skill, attempt, fail, advice, practice, success = t.rng.choice(SKILLS)
    t.slots.update(skill=skill, attempt=attempt, fail=fail, advice=advice, practice=practice, success=t.expand(success))
    t.about("who wanted to learn to {skill}\nwho learned to {skill}\nwho wanted to {skill}\nwho could not {skill}", "{f.a}", "learning to {skill}\nlearning something new\nnot giving up\npractice")
    t.begin()
    t.par()
    t.say("""
        There was one thing that {h} wanted more than anything: {h.he} wanted to learn to {skill}.
        "I wish I could {skill}," said {h} every day.
        All the others could {skill}. Only {h} could not.
        One day {h} saw somebody {skill}. "I want to do that, too!" {h.he} said.
    """)
    t.say("""
        So {h.he} {attempt}, and {fail}.
        {h} tried at once. {h.He} {attempt}, but {h.he} {fail}.
        "It cannot be hard," thought {h}. {h.He} {attempt}. But {h.he} {fail}.
    """)
    t.say("""
        Some of the others laughed. {h} felt {h.his} face grow hot.
        "I will never learn it," said {h}, and @hsad.
        {h} tried a second time and a third time, but it was no better.
    """)
    t.par()
    if by_worker:
        t.say("""
            {f.a} had seen it all. "I could not do it at first, either," said {f}.
            Then {f.a} came and sat down next to {h}. "Would you like to know a secret?" asked {f}.
        """)
    else:
        t.say("""
            {f.a} named {f.name} had seen it all. "I could not do it at first, either," said {f.name}.
            Then a {f.noun} called {f.name} sat down next to {h}. "Would you like to know a secret?" {f.he} asked.
            A {f.noun} named {f.name} had been watching. "You are almost right," said {f.name}. "May I tell you something?"
        """)
        f.known = f.noun != t.h.noun  # type: ignore[union-attr]
    t.say("""
        "{advice}," said {f}.
        {h} nodded. "{advice}," said {f} @kindly.
    """)
    t.say("""
        {h} tried again. It was not good yet, but it was a little better.
        {h} did as {f} had said, and this time it was not so bad.
    """)
    t.say("""
        And so {h} {practice}. On some days it went well, and on other days it did not. But {h} did not give up.
        From then on {h} {practice}. {f} came to watch and always found something to praise.
        {h} {practice}. Days went by, and then weeks.
    """)
    t.par()
    t.say("""
        And then one day it happened: {h} {success}!
        At last, on a bright morning, {h} {success}.
        When spring came, {h} {success}. Nobody laughed now.
    """)
    t.say("""
        "You did it!" cried {f}. "We did it," said {h}.
        {h} could hardly believe it. "How did you do that?" asked the others. "Slowly," said {h}, and laughed.
        @glad. "I only had to try one more time than I fell down," {h.he} said.
    """)
    t.say("""
        And when a little one came and said, "I cannot do it," {h} sat down and said, "Would you like to know a secret?"
        Everything is hard before it is easy.
        And today {h} teaches others how to {skill}.
        Those who keep trying will get there in the end.
    """)


def surprise(t: Teller) -> None:
    t.cast(traits=(*GOOD, "grumpy", "impatient"))
    f = t.friend()
    t.food()
    t.about("who thought that everybody had forgotten the birthday\nand a birthday surprise\nand a secret\nand a surprise party", "a {f.noun}\na secret\n{food.a}", "a birthday\na secret\na surprise party\na birthday party")
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
        In the evening {h} walked home slowly. It was dark in the {h.home}. {h.He} opened the door, and suddenly there was light everywhere.
        When the sun was low, {f.name} came running. "Quick, {h.name}, come to {r}! Something has happened!" {h} {h.ran} as fast as {h.he} could.
    """.replace("He} opened the door, and", "He} stepped inside, and"))
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


def race(t: Teller) -> None:
    t.cast(traits=("proud", "impatient", "brave", "playful", "cheerful", "kind", "patient"), kinds=t.rng.choice(("animals", "people")))
    f = t.friend(trait=t.rng.choice(("quiet", "patient", "cheerful", "tiny", "gentle")))
    g = t.friend("g")
    t.about("in a race\nwho wanted to win a race\nand the big race\nwho stopped to help in a race", "a race\na {f.noun}\na {g.noun}", "a race\nthe big race\nwinning and losing\na running race")
    t.begin()
    t.say("""
        {h} loved to run, and {h.he} wanted to be the fastest in {s}.
        "I am the fastest of all," {h} liked to say.
        Everybody said that {h} was very fast.
    """.replace("in {s}", "of all"))
    t.par()
    t.say("""
        @day there was a big race. It went from {p} to {q} and back again. The prize was a [golden ribbon|silver cup|big blue ribbon].
        Once a year there was a race around {s}. The winner got a [crown of flowers|golden ribbon|silver cup].
    """)
    t.say("""
        {f.name} the {f.noun} was there, and so was {g.name} the {g.noun}. "One, two, three, go!" called the old judge.
        {f.name}, a {f.noun}, wanted to run, too. So did {g.name}, a little {g.noun}. They stood in a line. "Ready, steady, go!"
    """)
    t.say("""
        {h} shot off like an arrow. Soon the others were far behind.
        {h} was in front from the very first step. The wind sang in {h.his} ears.
    """)
    t.par()
    t.say("""
        But near {q} there was a cry. {g.name} had fallen and was holding one leg.
        But then {h} heard somebody call. {g.name} was stuck in the mud near {q} and could not get out.
    """)
    if t.rng.random() < 0.6:
        t.say("""
            {h} looked ahead. {h.He} could see the end of the race. Then {h.he} looked back at {g.name}. What should {h.he} do?
            "If I stop now, I will lose," thought {h}. {h.His} feet wanted to go on, but {h.his} heart did not.
        """)
        t.say("""
            {h} turned around. "Hold on to me," {h.he} said, and helped {g.name} up. Step by step they went on together. {f.name} ran past them and won.
            {h} stopped and helped {g.name}. "Go on without me," said {g.name}. "No," said {h}. "We will finish together." And so {f.name} was the first to cross the line.
        """)
        t.par()
        t.say("""
            When {h} and {g.name} came in last, everybody cheered. {f.name} held up the prize. "This belongs to {h.name}," said {f.name}. "I was fast, but {h.he} was good."
            {f.name} got the prize. But the old judge said, "There is one more prize today. It is for the biggest heart." And it went to {h}.
            "You lost the race," said {g.name}. "But I found a friend," said {h}, and @glad.
        """)
        t.say("""
            Being first is nice, but being kind is better.
            There will be another race next year, but a friend in need cannot wait.
            And nobody remembers any more who was second, but everybody remembers who stopped.
        """)
    else:
        t.say("""
            "I have no time," thought {h}, and ran past. But {f.name} stopped. "Give me your hand," said {f.name}, and pulled {g.name} up.
            {h} heard it, but {h.he} ran on. It was {f.name} who stopped and helped {g.name} to stand.
        """.replace("Give me your hand", "Hold on to me"))
        t.par()
        t.say("""
            {h} won the race. {h.He} stood there with the prize and waited for the cheering. But everybody had gone to {f.name} and {g.name}.
            {h} was first, and {h.he} got the prize. But it was strangely quiet. All the others were standing around {f.name} and shaking {f.his} hand.
        """.replace("and shaking {f.his} hand", "and saying kind words"))
        t.say("""
            Then {h} understood. {h.He} went to {f.name} and held out the prize. "You are the real winner," {h.he} said. "Next time I will stop, too."
            {h} looked at the prize, and it did not seem to shine any more. "I am sorry, {g.name}," {h.he} said. "I should have stopped." "You can run with us tomorrow," said {g.name}.
        """)
        t.say("""
            The next day the three of them ran together, just for fun, and nobody counted.
            And from that day on, {h} was the first to help.
        """)


PLANTS = (
    ("sunflower", "a striped seed", "a sunflower as tall as a house", "seeds for all the birds"),
    ("pumpkin", "a flat white seed", "the biggest pumpkin that anyone had ever seen", "pumpkin soup for everybody"),
    ("apple tree", "a small brown seed", "a fine young apple tree", "sweet apples for everyone"),
    ("strawberry plant", "a tiny green plant", "a whole patch of red strawberries", "a bowl of strawberries for every friend"),
    ("bean", "a shiny round bean", "a bean plant that climbed up to the roof", "enough beans for the whole winter"),
    ("rose", "a dry little twig with thorns", "a rose bush with a hundred red roses", "a rose for every neighbor"),
    ("carrot", "a pinch of tiny seeds", "a row of fat orange carrots", "carrots for all the neighbors"),
    ("cherry tree", "a cherry stone", "a cherry tree white with flowers", "cherries for everyone"),
)


def garden(t: Teller) -> None:
    t.cast(traits=(*GOOD, "impatient", "impatient", "lazy"))
    by_worker = t.rng.random() < 0.4
    f = t.helper("f") if by_worker else t.friend(trait=t.rng.choice(("patient", "gentle", "kind")))
    plant, seed, grown, harvest = t.rng.choice(PLANTS)
    t.slots.update(plant=plant, seed=seed, grown=grown, harvest=harvest)
    t.about("who planted a seed\nwho had a garden\nwho wanted to grow a {plant}\nand a seed".replace("a {plant}", article_of(plant)), f"{article_of(plant)}\na garden\n{{f.a}}", f"a garden\nplanting a seed\nwaiting\n{article_of(plant)}")
    t.begin()
    t.par()
    if by_worker:
        t.say("""
            @day {h} met {f.a} who gave {h.him} {seed}. "What is it?" asked {h}. "Plant it and see," said {f}.
            @day {f.a} came by with a bag over one shoulder. "This is for you," said {f}, and gave {h} {seed}.
        """)
    else:
        t.say("""
            @day {h} met {f.name}, {f.a}, who gave {h.him} {seed}. "What is it?" asked {h}. "Plant it and see," said {f.name}.
            @day {f.name}, a {f.noun} from {s}, brought {h} {seed}. "It does not look like much," said {h}. "Wait and see," said {f.name}.
        """.replace("from {s}", "who lived nearby"))
        f.known = f.noun != t.h.noun  # type: ignore[union-attr]
    t.say("""
        {h} made a hole in the earth near {p} and planted it. {h.He} gave it water and sat down to wait.
        So {h} found a sunny place near {p}, dug a little hole and put it in. Then {h.he} watered it.
    """)
    t.say("""
        The next day {h} {h.ran} to look. There was nothing. On the day after that there was still nothing.
        One day went by, then two, then a whole week. Nothing happened. There was only brown earth.
    """)
    t.par()
    t.say("""
        "It does not work," said {h}. "I will dig it up and see what is wrong." "Please do not," said {f}. "It is working where you cannot see it."
        {h} stamped on the ground. "Grow!" {h.he} shouted. But it did not grow. {f} laughed @kindly. "It does not need shouting," said {f}. "It needs water, sun and time."
        "Maybe it is asleep," said {h}. "Maybe it is," said {f}. "Then sing to it, and do not forget the water."
    """)
    t.say("""
        So {h} brought water every morning, pulled out the weeds and told the little seed stories.
        And so {h} waited. {h.He} gave it water when it was dry, and on cold nights {h.he} covered it with leaves.
    """)
    t.par()
    t.say("""
        Then, after a night of warm rain, there was a tiny green point in the earth. "It is here!" cried {h}. "It is here!"
        And one morning something green was looking out of the ground. {h} lay down to see it better. It had two small leaves.
    """)
    t.say("""
        It grew and grew. When summer was over, there stood {grown}.
        Every day it was a little bigger, and in the end it was {grown}.
    """)
    t.say("""
        {h} called all the friends together, and there was {harvest}.
        There was {harvest}, and {h} gave the first to {f}.
    """.replace("there was {harvest}", "there were {harvest}" if harvest.split()[0] in ("seeds", "carrots", "cherries", "sweet") else "there was {harvest}").replace("There was {harvest}", "There were {harvest}" if harvest.split()[0] in ("seeds", "carrots", "cherries", "sweet") else "There was {harvest}").replace("gave the first to {f}", "thanked {f} with all {h.his} heart"))
    t.say("""
        "All of that was in such a little thing," said {h}, and shook {h.his} head in wonder.
        "The best things grow slowly," said {f}. And {h} knew that it was true.
        And {h} kept one seed in a little box, for the next spring.
    """)


def article_of(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def broken_thing(t: Teller) -> None:
    t.cast(traits=(*GOOD, "impatient", "playful"))
    f = t.friend(trait=t.rng.choice(("kind", "gentle", "quiet", "proud")))
    t.item("o", tuple(x for x in THINGS if x.noun not in ("ball", "whistle", "key", "shell", "button", "scarf")))
    t.about("who broke {o.a}\nwho told the truth\nand a broken {o}\nwho mended {o.a}", "a broken {o}\na {f.noun}\n{o.a}", "a broken {o}\ntelling the truth\nsaying sorry\nbeing honest")
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
        @day {f.name} was not at home, and the {o} stood there all alone. "I will only touch it once," said {h}.
        @day {h} was playing with the {o} while {f.name} was away at {p}.
        @day {h} borrowed the {o} without asking.
    """.replace("stood there", "was there"))
    t.say("""
        But {h} was too wild, and {o.broke}. {h}'s heart stood still.
        Then it slipped and fell, and {o.broke}. "Oh no!" whispered {h}.
        {h} stumbled over a root, and with a terrible sound {o.broke}.
    """.replace("over a root, and with a terrible sound", "and fell, and then"))
    t.say("""
        {h} was afraid. {h.He} hid the {o} {q.at} and {h.ran} home.
        "If I say nothing, nobody will know," thought {h}, and covered the {o} with leaves.
        {h} put the {o} back and hoped that nobody would see it.
    """)
    t.par()
    t.say("""
        Soon {f.name} came and called, "My {o}! What has happened to my {o}?" {f.His} voice was so sad that {h} could not bear it.
        That night {h} could not sleep. Whenever {h.he} closed {h.his} eyes, {h.he} saw the broken {o}.
        At dinner {h} could not eat a bite. The secret was like a stone in {h.his} stomach.
    """.replace("Soon {f.name} came and called", "In the evening {f.name} called"))
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
        You could see where it had been broken. "That is the place where our friendship is strongest," said {f.name}.
        When it was done, they both had to smile.
    """.replace("our friendship is strongest", "it is strongest now"))
    t.say("""
        And that night {h} slept like a stone.
        The truth is sometimes hard to say, but it makes the heart light.
        From then on {h} always asked first.
    """)


FEARS = (
    # (fear, scene that scares, how help is needed there, what is found)
    ("the dark", "when night fell, {h.he} pulled the blanket over {h.his} head", "It was late, and the night was black, and {f.name} had not come home", "the dark was full of small lights: stars, and fireflies, and the moon on the water"),
    ("thunder", "when thunder rolled, {h.he} crept into the farthest corner", "A storm came up, and {f.name} was outside all alone", "the thunder was only a big noise, like a drum in the sky"),
    ("deep water", "{h.he} never went closer to the water than ten steps", "{f.name} was sitting on a stone in the middle of the stream, and the water was rising", "the water was cold, but it carried {h.him}, and it was not as deep as it looked"),
    ("high places", "{h.he} felt dizzy on the second step of the stairs", "{f.name} had climbed up a tall tree and could not get down", "from up there one could see the whole world, green and golden"),
    ("the old cave", "{h.he} made a long way around it every day", "{f.name} had gone into the old cave and was calling for help", "the cave was full of glittering stones and a soft blue light"),
    ("strangers", "when somebody new came by, {h.he} hid", "{f.name} was lost, and only the stranger at the gate knew the way", "the stranger had kind eyes and a pocket full of nuts"),
    ("the big dog", "{h.he} turned around when {h.he} heard it bark", "{f.name}'s hat had blown over the fence, right in front of the big dog", "the big dog only wanted somebody to play with"),
    ("the woods at night", "{h.he} never stayed out after sunset", "{f.name} had hurt a foot and was sitting in the woods, and the sun was going down", "the woods at night were full of soft songs, and an owl showed them the way"),
)


def fear(t: Teller) -> None:
    t.cast(traits=("shy", "quiet", "gentle", "tiny", "kind", "careful", "dreamy", "curious"))
    f = t.friend()
    name, habit, need, found = t.rng.choice(FEARS)
    t.slots.update(fear=name)
    t.slots.update(habit=t.expand(habit), need=t.expand(need.replace("{f.name}", "{f.name}")), found=t.expand(found))
    t.about("who was afraid of {fear}\nwho was afraid\nwho became brave\nand {h.his} fear of {fear}", "a {f.noun}", "being afraid of {fear}\nbeing brave\ncourage\nbeing afraid")
    t.begin()
    t.say("""
        But {h} was afraid of {fear}: {habit}.
        {h} had one secret. {h.He} was afraid of {fear}. {habit}.
        There was only one thing that {h} did not like at all, and that was {fear}. {habit}.
    """)
    t.say("""
        {h.His} best friend was {f.name}, a {f.noun}, who never laughed about it.
        Only {f.name}, a {f.noun} who lived next door, knew about it.
    """)
    f.known = f.noun != t.h.noun
    t.par()
    t.say("""
        One day something happened. {need}.
        Then came a day that {h} would never forget. {need}.
    """)
    t.say("""
        "Help!" called {f.name}. "Is anybody there?"
        {h} looked around. There was nobody else who could help.
    """ if name not in ("strangers", "the big dog") else """
        "What shall we do?" asked {f.name}, and was close to tears.
        {h} looked around. There was nobody else who could help.
    """)
    t.say("""
        {h}'s knees began to shake. "I cannot do it," {h.he} thought. But then {h.he} thought of {f.name}.
        {h} wanted to run away. {h.He} took one step back. Then {h.he} thought of {f.name} and took two steps forward.
        "I am afraid," whispered {h}. "But {f.name} needs me."
    """)
    t.par()
    t.say("""
        {h.He} took a deep breath and went. One step, and then another step.
        {h.He} counted to three, and then {h.he} went. {h.He} hummed a little song, so that {h.his} heart would not beat so loud.
    """)
    t.say("""
        And then {h} saw that {found}.
        How strange! Now that {h} was there, {found}.
    """)
    rescue = {
        "strangers": "\"Excuse me, please,\" said {h}. The stranger smiled and showed them the way, and soon {f.name} was safe at home.",
        "the big dog": "{h} threw a stick, and the dog ran after it with a happy bark. Then {h} picked up the hat and gave it to {f.name}.",
        "high places": "{h} climbed up to {f.name} and showed {f.him} where to step. Branch by branch they came down together.",
        "deep water": "{h} swam to the stone, and {f.name} held on tight. Together they reached the shore.",
    }.get(name, "{h} followed the voice and found {f.name}. \"You came!\" said {f.name}. Side by side they went home.")
    if name in ("the dark",):
        rescue = "{h} called, and from far away {f.name} answered. Soon they had found each other, and side by side they went home."
    t.say(rescue)
    t.par()
    t.say("""
        "You were so brave," said {f.name}. "I was afraid the whole time," said {h}. "That is what being brave means," said {f.name}.
        "Were you not afraid?" asked {f.name}. "I was," said {h}. "But I was more afraid for you."
    """)
    t.say("""
        Since then {h} is not afraid of {fear} any more, or only a little.
        And the next time, {h}'s knees shook only half as much.
        Brave hearts may beat fast, but they go on.
    """)


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
    t.about("who found a lost {baby}\nwho helped a lost {baby}\nand a lost {baby}\nwho found a {baby}", "a lost {baby}\na {baby}\na {g.noun}", "a lost {baby}\na {baby} that looked for its mother\nfinding the way home\na {baby}")
    t.begin()
    t.par()
    t.say("""
        @day {h} was on the way to {p} when {h.he} heard {sound}. It was a {baby}, and it was all alone.
        @day {h} was resting {p.at}. There was {sound}. {h} looked around and saw a little {baby}.
    """.replace("a little {baby}", "a lost {baby}"))
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
        The {baby} ran and ran, and she closed it in her arms.
    """.replace("she closed it in her arms", "she held it close"))
    t.say("""
        "How can I thank you?" asked the {mother}. "You do not have to," said {h}. "I am happy when you are happy."
        "You have a good heart, {h.name}," said the {mother}. "You will always be welcome here."
    """)
    t.par()
    t.say("""
        {h} waved for a long time. Then {h.he} went home to {h.his} own {h.home}.
        Since then the {baby} comes to visit {h} every week, and it knows the way by heart.
    """)
    t.rng.random() < 0.6 and cosy(t)


def moon(t: Teller) -> None:
    t.cast(traits=("dreamy", "curious", "lonely", "playful", "impatient", "tiny", "clever", "greedy"))
    f = t.friend(trait=t.rng.choice(("clever", "kind", "wise", "quiet")))
    sky = t.pick("sky", "moon", "star")
    t.about("who wanted the {sky}\nwho wanted to catch the {sky}\nand the {sky}\nwho talked to the {sky}".replace("the {sky}", "the moon" if sky == "moon" else "a star"), ("the moon" if sky == "moon" else "a star") + "\na {f.noun}", "the moon\nthe night sky" if sky == "moon" else "a star\nthe stars\nthe night sky")
    t.slots["bright"] = t.rng.choice(("round and yellow", "bright and silver", "big and golden")) if sky == "moon" else t.rng.choice(("small and bright", "clear and silver"))
    t.begin()
    t.say("""
        Every night {h} looked up at the sky.
        {h} did not like to go to bed. {h.He} liked to look at the sky.
    """)
    t.par()
    t.say("""
        One night the {sky} was {bright}, and it seemed very near. "I want to have it," said {h}.
        "How beautiful the {sky} is," said {h} one night. It was {bright}. "I will bring it home."
    """.replace("the {sky}", "the moon" if sky == "moon" else "one star"))
    t.say("""
        {h} {h.ran} up to the highest place near {p} and reached out. It was too far.
        {h.He} climbed on a stone near {p} and stretched as far as {h.he} could. But it was still too far.
    """)
    t.say("""
        So {h.he} [fetched a long ladder|put three boxes on top of each other|took a long stick]. It was not enough. {h} fell down into the grass.
        {h} jumped and jumped until {h.he} was tired. The {sky} did not come any closer.
    """)
    t.par()
    t.say("""
        "What are you doing?" asked {f.name}, {f.a} who could not sleep. "I want to catch the {sky}," said {h}.
        {f.name}, {f.a}, had been watching. "Do you want the {sky}?" asked {f.name}. "More than anything," said {h}.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        {f.name} thought about it. Then {f.he} filled a [bucket|bowl] with water and put it in front of {h}. "Look inside," {f.he} said. And there was the {sky}, shining in the water.
        "Come with me," said {f.name}. They went to a still little pool. "Look down, not up," said {f.name}. The {sky} was lying in the water, as bright as in the sky.
    """.replace("as bright as in the sky", "as bright as above"))
    t.say("""
        {h} touched it with one finger, and it broke into a hundred pieces of light. Then the water was still, and the {sky} was whole again.
        {h} was very quiet. "It came down to me," {h.he} whispered.
    """)
    t.par()
    t.say("""
        "You cannot keep it," said {f.name}. "But you can look at it every night, and so can everybody else."
        "Nobody can own the {sky}," said {f.name}. "That is why it shines for all of us."
    """)
    t.say("""
        They sat together until {h}'s eyes fell shut, and the {sky} watched over them.
        "Good night, {sky}," said {h}, and yawned. And it seemed as if the {sky} winked.
        Since then the two of them meet every clear night and look up together.
    """)


def snow_day(t: Teller) -> None:
    t.cast(traits=("cheerful", "playful", "curious", "sleepy", "lonely", "shy", "lazy", "kind"))
    f = t.friend()
    hat = t.item("o", tuple(x for x in THINGS if x.noun in ("hat", "scarf", "bucket", "blanket")))
    t.food()
    t.about("in the snow\nwho built a snowman\nand the first snow\nand a snowman", "a snowman\na {f.noun}\nthe first snow", "the first snow\nwinter\na snowman\na snowy day")
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
        Then they sat by the warm fire with {food.a}, and through the window they could see their snowman.
        Inside it was warm. They shared {food.a} and watched the snow fall.
    """.replace("through the window", "outside"))
    t.say("""
        In spring the snowman melted, and only the {o} was left in the grass. "Goodbye," said {h}. "See you next winter."
        One warm day the snowman was gone. {h} was a little sad. "He has only gone home to the clouds," said {f.name}.
        "I hope that it never melts," said {h}. "It will," said {f.name}, "but then there will be flowers."
    """)
    t.rng.random() < 0.4 and cosy(t)


def handmade_gift(t: Teller) -> None:
    t.cast()
    t.item("o", GIFTS)
    t.helper()
    who = t.pick("who", "grandmother", "grandfather", "mother", "father", "aunt", "uncle")
    she = who in ("grandmother", "mother", "aunt")
    t.slots.update(their="her" if she else "his", They="She" if she else "He", they="she" if she else "he", them="her" if she else "him")
    t.about("who made a present\nwho made {o.a}\nwho wanted to give a present to {h.his} {who}\nwho had no money", "{w.a}\na present\n{h.his} {who}", "a present\na birthday present\na gift made by hand\ngiving a present")
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
        Then {h} had an idea. "{o.a} would be just right," {h.he} said.
    """.replace('"{o.a} would', '"I know! A {o.full} would' if not hat_vowel(str(t.slots["o"].look)) else '"I know! An {o.full} would'))  # type: ignore[attr-defined]
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


def hat_vowel(word: str) -> bool:
    return word[0] in "aeiou"


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
    t.about("who solved a mystery\nwho wanted to catch a thief\nand a mystery\nand a strange noise", "a mystery\na {f.noun}\na thief", "a mystery\na strange noise in the night\na thief\na riddle")
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
        "We will stay awake tonight," said {h}. They put out a plate as bait and hid behind a curtain of leaves.
    """.replace("behind a curtain of leaves", "in the shadows"))
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
    t.about("who built a bridge\nwho wanted to cross the river\nand a river\nwho worked together with a {f.noun}", "a bridge\na river\na {f.noun}", "working together\na bridge\nbuilding a bridge\na river")
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


def fair(t: Teller) -> None:
    t.cast(traits=(*GOOD, "proud", "impatient"))
    f = t.friend()
    food = t.food()
    t.slots.update(i1=food.parts[0], i2=food.parts[1], i3=food.parts[2])
    t.about("who baked for the fair\nwho wanted to win the prize at the fair\nand {food.a}\nat the fair", "{food.a}\na {f.noun}\na contest", "a contest\nthe summer fair\na cooking contest\n{food.a}")
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
        And the recipe hangs on the wall of {h.his} {h.home} to this day.
    """.replace("hangs on the wall of {h.his} {h.home}", "is their secret"))


def letter(t: Teller) -> None:
    t.cast()
    w = t.helper()
    f = t.friend(trait=t.rng.choice(("lonely", "grumpy", "shy", "quiet")))
    t.about("who wrote a letter\nwho brought a letter\nand a letter\nwho carried a letter to a {f.noun}", "a letter\na {f.noun}\n{f.a}\n{w.a}", "a letter\na kind letter\na message\nwriting a letter")
    t.begin()
    t.say("""
        Near {p} lived {f.name}, {f.a}, who never had visitors and never got any letters.
        At the edge of {s}, near {p}, lived {f.name}, {f.a}. Nobody ever went there.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        "Why does nobody visit {f.name}?" {h} asked {w}. "Nobody ever has," said {w.a}.
        "Everybody gets letters," {h} said to {w}, "but {f.name} never gets one." {w} nodded. "Then somebody has to write the first one."
    """.replace("{w.a}", "{w}"))
    t.par()
    t.say("""
        So {h} sat down and wrote: "Dear {f.name}, I like [your garden|your songs|the way you walk|your blue door]. Would you like to have tea with me? Your neighbor {h.name}."
        {h} took paper and a pencil and wrote: "Dear {f.name}, how are you? The [daisies|cherries|first stars] are out, and I thought of you. Your friend {h.name}."
    """)
    t.say("""
        It was a windy day, and the letter flew out of {h.his} hands. {h} chased it past {q} and past {r} until {h.he} caught it at last.
        On the way it began to rain, and {h} hid the letter under {h.his} coat, so that it would stay dry.
        The way was long, and it led past {q} and up a steep path. But {h} did not turn back.
    """.replace("out of {h.his} hands", "away").replace("under {h.his} coat", "under a big leaf"))
    t.say("""
        {h} put the letter in front of the door, knocked and hid behind a bush.
        At last {h} stood in front of the {f.home} and put the letter down. Then {h.he} waited behind a tree.
    """.replace("in front of the door, knocked and", "in front of the {f.home}, called \"Post!\" and"))
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


TREASURES = (
    ("an old tin box. Inside lay a note: \"The treasure is the view.\" They looked up and saw the whole land, golden in the evening sun", "the view"),
    ("a big tree full of ripe red cherries", "the cherries"),
    ("a wooden box full of old story books", "the stories"),
    ("a hidden spring with water as clear as glass", "the clear water"),
    ("a small boat with a white sail, ready for a trip", "the boat"),
    ("a box with a single golden coin and a note that said: \"Hide it again for the next ones\"", "the adventure"),
    ("a chest full of hats, masks and bright old clothes", "the bright clothes"),
    ("a tree house that somebody had built long ago", "the tree house"),
)


def treasure(t: Teller) -> None:
    t.cast(traits=("curious", "brave", "playful", "clever", "dreamy", "impatient", "funny", "careful"))
    f = t.friend(trait=t.rng.choice(("careful", "clever", "cheerful", "sleepy")))
    t.item("o", tuple(x for x in THINGS if x.noun in ("book", "teapot", "music box", "basket", "hat", "clock", "drum")))
    found, prize = t.rng.choice(TREASURES)
    t.slots.update(found=found, prize=prize)
    t.about("who found a map\nwho looked for a treasure\nand a treasure map\nwho followed an old map", "a treasure\na treasure map\na {f.noun}", "a treasure\na treasure map\nan adventure\nan old map")
    t.begin()
    t.par()
    t.say("""
        @day {h} found a piece of paper in {o.a}. It was a map!
        @day {h} opened {o.a}, and out fell an old yellow map.
    """.replace("opened {o.a}", "turned over {o.a}"))
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
    t.rng.random() < 0.4 and cosy(t)


FIBS = (
    ("a wolf is coming", "a wolf", "ran and shut their doors", "a big gray wolf came out of the trees"),
    ("there is a fire", "a fire", "came with buckets of water", "a small fire really began to burn in the dry grass"),
    ("the river is rising", "the water", "carried their things up the hill", "the rain really made the river rise"),
    ("a bear is in the honey", "a bear", "ran to save the honey", "a hungry bear really came to the honey"),
)


def fib(t: Teller) -> None:
    t.cast(traits=("playful", "funny", "lonely", "proud", "impatient", "cheerful"))
    f = t.friend(trait=t.rng.choice(("kind", "honest", "patient", "gentle")))
    cry, danger, reaction, real = t.rng.choice([x for x in FIBS if t.h.noun not in x[0] and f.noun not in x[0]])
    t.slots.update(cry=cry, danger=danger, reaction=reaction, real=real)
    t.about("who told a lie\nwho played a trick on the others\nwho told fibs\nwho learned to tell the truth", "a {f.noun}\n{danger}", "telling the truth\na lie\nplaying tricks\ntrust")
    t.begin()
    t.par()
    t.say("""
        @day {h} was bored. "I will play a trick," {h.he} thought, and shouted, "Help! {Cry}!"
        @day there was nothing to do. So {h} climbed on a stone near {p} and cried, "{Cry}! {Cry}!"
    """.replace("{Cry}", cry.capitalize()))
    t.say("""
        All the neighbors {reaction}. But there was nothing. {h} laughed until {h.his} sides hurt.
        At once everybody {reaction}. "It was only a joke!" said {h}, and rolled in the grass with laughter.
    """.replace("everybody {reaction}", "all the others {reaction}"))
    t.say("""
        "That was not funny," said {f.name}, a {f.noun}. "We were afraid."
        {f.name}, a {f.noun}, shook {f.his} head. "One day we will not believe you any more," {f.he} said.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        But the next day {h} did it again, and again the neighbors came. And again there was nothing.
        {h} did it a second time and a third time. Every time fewer came.
    """)
    t.par()
    t.say("""
        Then one evening {real}. "Help!" cried {h}. "{Cry}! This time it is true!" But nobody came. "It is only {h.name} again," they said.
        But some days later {real}. {h} called as loud as {h.he} could. "{Cry}!" The neighbors heard it, but they stayed where they were.
    """.replace("{Cry}", cry.capitalize()))
    t.say("""
        {h} {h.ran} to {f.name}. "Please believe me," {h.he} begged, and tears ran down {h.his} face. {f.name} looked into {h.his} eyes. "I believe you," {f.he} said.
        Only {f.name} came to look. "It is true!" cried {f.name}, and called the others.
    """)
    t.say("""
        Then they all came, and together they were just in time. Nobody was hurt.
        With the help of all the neighbors everything ended well, but it had been close.
    """)
    t.par()
    t.say("""
        "I am sorry," said {h} to everyone. "I will never do it again." And {h.he} kept {h.his} word.
        {h} hung {h.his} head. "I have learned something today," {h.he} said. "I am sorry." And they forgave {h.him}.
    """)
    t.say("""
        It took some time, but little by little they trusted {h} again.
        Trust is quickly broken, and it takes long to mend.
        Since then, when {h} says a thing, it is so.
    """)


def wise_trick(t: Teller) -> None:
    t.cast(traits=("clever", "tiny", "brave", "funny", "quiet", "kind"), kinds=t.rng.choice(("animals", "any")))
    big = t.pick("big", *[b for b in ("bear", "wolf", "lion", "goose", "goat", "giant", "dragon", "bull", "troll") if b != t.h.noun])
    t.slots["bigname"] = t.pick("bn", "Grumble", "Brock", "Storm", "Rocky", "Thunder", "Boulder")
    t.about("who met a grumpy {big}\nwho was smarter than a {big}\nand a grumpy {big}\nwho asked a riddle", "a grumpy {big}\na {big}\na riddle", "a riddle\na clever trick\na grumpy {big}\nbeing clever")
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
        "I hear that you are very wise," said {h}. "Can you guess my riddle? If not, you must let us pass." {bigname} was flattered. "Ask," {big} said.
    """.replace("{big} said", "said {bigname}").replace('"Ask," said', '"Ask," said'))
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
    t.about("who met a {monster}\nwho was not afraid of the {monster}\nand a {monster}\nand a lonely {monster}\nwho made friends with a {monster}", "a {monster}\na lonely {monster}\na friendly {monster}", "a {monster}\na friendly {monster}\na lonely {monster}\nnot judging by looks")
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
        {h} sat down and shared the food that {h.he} had brought. "I only wanted to say hello to them," said the {monster}. "But my voice is so loud."
    """.replace("shared the food that {h.he} had brought", "listened"))
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


def bedtime(t: Teller) -> None:
    t.cast(traits=("sleepy", "playful", "curious", "dreamy", "tiny", "quiet", "cheerful"))
    g = t.pick("g", "mother", "father", "grandmother", "grandfather")
    she = g in ("mother", "grandmother")
    t.slots.update(they="she" if she else "he", They="She" if she else "He")
    t.item("o", tuple(x for x in THINGS if x.noun in ("teddy bear", "blanket", "lantern", "music box", "book", "doll")))
    t.about("who could not sleep\nwho did not want to go to bed\nat bedtime\nwho was not tired", "{h.his} {g}\n{o.a}", "bedtime\ngoing to sleep\na quiet night\nfalling asleep")
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
        "I am too warm," said {h}, and {h.his} {g} opened the window. "Now I am too cold," said {h}, and {h.his} {g} brought {o.a}.
        "I am thirsty," said {h}. So {h.his} {g} brought a cup of water. "And I want my {o.full}," said {h}. So {they} brought that, too.
        "It is too dark," said {h}. So {h.his} {g} let a little moonlight in. "It is too quiet," said {h}. So {they} hummed a song.
    """.replace("and {h.his} {g} brought {o.a}", "and {h.his} {g} came with a warm drink"))
    t.par()
    t.say("""
        Then {h.his} {g} sat down on the edge of the bed. "Let us say good night to everything," {they} said.
        "Shall I tell you what the others are doing now?" asked {h.his} {g}. {h} nodded.
    """)
    t.say("""
        "The birds have put their heads under their wings. The fish are standing still in the water. The [bees|bears|flowers] are dreaming of honey."
        "Down at {p} it is quiet. At {q} the beetles have closed their eyes. Even the wind has gone to bed."
        "Good night, {p}. Good night, {q}. Good night, little stars, one and two and three."
    """.replace("The [bees|bears|flowers]", "The [bees|bears]"))
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


def new_home(t: Teller) -> None:
    t.cast(traits=("shy", "quiet", "curious", "lonely", "gentle", "grumpy", "dreamy"))
    f = t.friend()
    t.item("o", CARRIED)
    t.about("who moved to a new home\nwho was new in {s}\nand a new home\nwho missed the old home".replace("in {s}", "in town") if t.setting.people and t.setting.short == "the town" else "who moved to a new home\nand a new home\nwho missed the old home", "a {f.noun}\na new home\n{o.a}", "a new home\nmoving\nbeing new")
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
        And the {o} got a place of honor in the new {h.home}.
    """.replace("new {h.home}", "new home"))


def winter_store(t: Teller) -> None:
    t.cast(traits=("lazy", "sleepy", "dreamy", "playful"), kinds="animals")
    f = t.friend(trait=t.rng.choice(("busy", "careful", "patient", "kind")))
    t.about("who did not want to work\nwho did not get ready for winter\nwho played all summer\nand the winter", "a {f.noun}\n{f.a}", "getting ready for winter\nwork and play\nwinter\nbeing lazy")
    t.begin()
    t.say("""
        All summer long {h} lay in the sun and [sang|made up songs|watched the clouds].
        It was summer, and {h} had nothing to do but to [sing|dream|play the flute].
    """)
    t.par()
    t.say("""
        {f.name}, {f.a}, worked from morning to evening and carried [nuts|seeds|apples] home. "Winter is coming," said {f.name}. "Will you not gather something, too?"
        Every day {f.name}, {f.a}, came by with a full basket. "You should gather food for the winter," said {f.name}.
    """)
    f.known = f.noun != t.h.noun
    t.say("""
        "Winter is far away," said {h}, and turned over to the other side.
        "Tomorrow," said {h}. "Today the sun is too nice."
    """)
    t.say("""
        The leaves turned red and yellow, and then they fell. One morning there was ice on the water.
        Days went by. The wind grew cold, and the birds flew south. Then the first snow fell.
    """)
    t.par()
    t.say("""
        Now {h} was hungry. {h.He} looked {p.at} and {q.at}, but everything was white and empty.
        {h} went out to look for food. There was nothing {p.at} and nothing {q.at}.
    """)
    t.say("""
        With cold feet {h} stood in front of {f.name}'s home. "I was foolish," said {h}. "Could you give me a little to eat?"
        At last {h} went to {f.name}. "You were right," {h.he} said in a small voice. "I have nothing."
    """)
    t.say("""
        {f.name} could have said, "I told you so." But {f.he} opened the door wide. "Come in," {f.he} said. "But you must sing for me, it has been so quiet here."
        {f.name} looked at {h} and shook {f.his} head. Then {f.he} smiled. "There is enough for two," {f.he} said, "if you help me next summer."
    """.replace("opened the door wide", "stepped aside"))
    t.par()
    t.say("""
        And so {h} sang all winter, and {f.name} had never had so much fun.
        They sat together in the warm {f.home}, and {h} told stories until spring came.
    """)
    t.say("""
        When summer came, {h} was the first one up. In the morning {h.he} worked, and in the evening {h.he} sang. And {f.name} sang along.
        The next summer {h} carried two baskets every day. "One for you and one for me," {h.he} said to {f.name}.
        And from then on {h} knew: there is a time to play and a time to work.
    """)


def quarrel(t: Teller) -> None:
    t.cast(traits=("proud", "playful", "impatient", "cheerful", "greedy", "funny", "brave"))
    f = t.friend(trait=t.rng.choice(("proud", "playful", "cheerful", "brave")))
    t.item("o", TOYS)
    t.helper()
    t.about("who had a quarrel\nand a {f.noun} who wanted the same {o}\nwho learned to take turns\nand {o.a}", "a {f.noun}\n{o.a}\n{w.a}", "a quarrel\ntaking turns\nmaking up\ntwo friends and one {o}")
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
        Now nobody had {o.a}, and they would not look at each other.
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


def errand(t: Teller) -> None:
    """A walk with three meetings: kindness on the way comes back in the end."""
    t.cast()
    a, b = t.friend("f"), t.friend("g")
    t.food()
    who = t.pick("who", "grandmother", "grandfather", "aunt", "uncle")
    t.slots["they"] = "she" if who in ("grandmother", "aunt") else "he"
    t.about("who went to visit {h.his} {who}\nwho helped others on the way\nwith a basket\nand {food.a}", "{food.a}\na {f.noun}\na {g.noun}\n{h.his} {who}", "kindness\na long way\na visit\nkindness that comes back")
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
    t.about("who built a machine\nwho built {machine}\nwho liked to build things\nwho was an inventor", "{machine}\na {f.noun}\na strange machine", "an invention\n{machine}\na machine\nmistakes")
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
        And so it was. People came from far away to see it, and {h} was proud again.
        {h} looked at it in a new way. It was true! "Sometimes a mistake is a present," {h.he} said.
    """.replace("People came", "Friends and neighbors came"))
    t.say("""
        "What will you build next?" asked {f.name}. "I do not know yet," said {h}, "but I hope that it goes wrong just as well."
        And since then {h} is not afraid of mistakes.
        The best ideas often begin with a mistake.
    """)


PLOTS: tuple[Plot, ...] = (
    lost_thing, lost_thing, new_friend, storm, helping_worker, helping_worker, sharing, learn_skill, learn_skill, surprise, race, garden, broken_thing, fear,
    lost_baby, moon, snow_day, handmade_gift, mystery, bridge, fair, letter, treasure, fib, wise_trick, kind_monster, bedtime, new_home, winter_store,
    quarrel, errand, invention,
)
