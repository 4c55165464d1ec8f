"""Plots about learning: skills, patience, courage, truth, and what matters in a race."""

from __future__ import annotations

from typing import TYPE_CHECKING

from words import GOOD, article

if TYPE_CHECKING:
    from text import Plot, Teller


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
    t.about("who wanted to learn to {skill} | who learned to {skill} | who wanted to {skill} | who could not {skill}", "{f.a}", "learning to {skill} | learning something new | not giving up | practice")
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
        f.known = f.noun != t.h.noun
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


PLANTS = (
    ("sunflower", "a striped seed", "a sunflower as tall as a house", "there were seeds for all the birds"),
    ("pumpkin", "a flat white seed", "the biggest pumpkin that anyone had ever seen", "there was pumpkin soup for everybody"),
    ("apple tree", "a small brown seed", "a fine young apple tree", "there were sweet apples for everyone"),
    ("strawberry plant", "a tiny green plant", "a whole patch of red strawberries", "there was a bowl of strawberries for every friend"),
    ("bean", "a shiny round bean", "a bean plant that climbed up to the roof", "there were enough beans for the whole winter"),
    ("rose", "a dry little twig with thorns", "a rose bush with a hundred red roses", "there was a rose for every neighbor"),
    ("carrot", "a pinch of tiny seeds", "a row of fat orange carrots", "there were carrots for all the neighbors"),
    ("cherry tree", "a cherry stone", "a cherry tree white with flowers", "there were cherries for everyone"),
)


def garden(t: Teller) -> None:
    t.cast(traits=(*GOOD, "impatient", "impatient", "lazy"))
    by_worker = t.rng.random() < 0.4
    f = t.helper("f") if by_worker else t.friend(trait=t.rng.choice(("patient", "gentle", "kind")))
    plant, seed, grown, harvest = t.rng.choice(PLANTS)
    t.slots.update(one=article(plant), seed=seed, grown=grown, harvest=harvest)
    t.about("who planted a seed | who had a garden | who wanted to grow {one} | and a seed", "{one} | a garden | {f.a}", "a garden | planting a seed | waiting | {one}")
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
            @day {f.name}, a {f.noun} who lived nearby, brought {h} {seed}. "It does not look like much," said {h}. "Wait and see," said {f.name}.
        """)
        f.known = f.noun != t.h.noun
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
        {h} called all the friends together, and {harvest}.
        Now {harvest}, and {h} thanked {f} with all {h.his} heart.
    """)
    t.say("""
        "All of that was in such a little thing," said {h}, and shook {h.his} head in wonder.
        "The best things grow slowly," said {f}. And {h} knew that it was true.
        And {h} kept one seed in a little box, for the next spring.
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
    ("the woods at night", "{h.he} never stayed out after sunset", "{f.name} had hurt a foot and was sitting in the woods, and the sun was going down", "the woods at night were full of soft songs, and an owl showed the way"),
)


def fear(t: Teller) -> None:
    t.cast(traits=("shy", "quiet", "gentle", "tiny", "kind", "careful", "dreamy", "curious"))
    f = t.friend()
    name, habit, need, found = t.rng.choice(FEARS)
    t.slots.update(fear=name)
    t.slots.update(habit=t.expand(habit), need=t.expand(need), found=t.expand(found))
    t.about("who was afraid of {fear} | who was afraid | who became brave | and {h.his} fear of {fear}", "a {f.noun}", "being afraid of {fear} | being brave | courage | being afraid")
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
    t.slots.update(Cry=cry.capitalize(), danger=danger, reaction=reaction, real=real)
    t.about("who told a lie | who played a trick on the others | who told fibs | who learned to tell the truth", "a {f.noun} | {danger}", "telling the truth | a lie | playing tricks | trust")
    t.begin()
    t.par()
    t.say("""
        @day {h} was bored. "I will play a trick," {h.he} thought, and shouted, "Help! {Cry}!"
        @day there was nothing to do. So {h} climbed on a stone near {p} and cried, "{Cry}! {Cry}!"
    """)
    t.say("""
        All the neighbors {reaction}. But there was nothing. {h} laughed until {h.his} sides hurt.
        At once all the others {reaction}. "It was only a joke!" said {h}, and rolled in the grass with laughter.
    """)
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
    """)
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


def winter_store(t: Teller) -> None:
    t.cast(traits=("lazy", "sleepy", "dreamy", "playful"), kinds="animals")
    f = t.friend(trait=t.rng.choice(("busy", "careful", "patient", "kind")))
    t.about("who did not want to work | who did not get ready for winter | who played all summer | and the winter", "a {f.noun} | {f.a}", "getting ready for winter | work and play | winter | being lazy")
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
        {f.name} could have said, "I told you so." But {f.he} stepped aside. "Come in," {f.he} said. "But you must sing for me, it has been so quiet here."
        {f.name} looked at {h} and shook {f.his} head. Then {f.he} smiled. "There is enough for two," {f.he} said, "if you help me next summer."
    """)
    t.par()
    t.say("""
        And so {h} sang all winter, and {f.name} had never had so much fun.
        They sat together in {f.his} {f.home}, and {h} told stories until spring came.
    """)
    t.say("""
        When summer came, {h} was the first one up. In the morning {h.he} worked, and in the evening {h.he} sang. And {f.name} sang along.
        The next summer {h} carried two baskets every day. "One for you and one for me," {h.he} said to {f.name}.
        And from then on {h} knew: there is a time to play and a time to work.
    """)


def moon(t: Teller) -> None:
    t.cast(traits=("dreamy", "curious", "lonely", "playful", "impatient", "tiny", "clever", "greedy"))
    f = t.friend(trait=t.rng.choice(("clever", "kind", "wise", "quiet")))
    sky = t.pick("sky", "moon", "star")
    t.slots.update(asked="the moon" if sky == "moon" else "a star", seen="the moon" if sky == "moon" else "one star")
    t.about("who wanted {asked} | who wanted to catch {asked} | and {asked} | who talked to {asked}", "{asked} | a {f.noun}", "{asked} | the night sky | looking at the sky")
    t.slots["bright"] = t.rng.choice(("round and yellow", "bright and silver", "big and golden")) if sky == "moon" else t.rng.choice(("small and bright", "clear and silver"))
    t.begin()
    t.say("""
        Every night {h} looked up at the sky.
        {h} did not like to go to bed. {h.He} liked to look at the sky.
    """)
    t.par()
    t.say("""
        One night {seen} was {bright}, and it seemed very near. "I want to have it," said {h}.
        "How beautiful {seen} is," said {h} one night. It was {bright}. "I will bring it home."
    """)
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
        "Come with me," said {f.name}. They went to a still little pool. "Look down, not up," said {f.name}. The {sky} was lying in the water, as bright as above.
    """)
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


def race(t: Teller) -> None:
    t.cast(traits=("proud", "impatient", "brave", "playful", "cheerful", "kind", "patient"), kinds=t.rng.choice(("animals", "people")))
    f = t.friend(trait=t.rng.choice(("quiet", "patient", "cheerful", "tiny", "gentle")))
    g = t.friend("g")
    t.about("in a race | who wanted to win a race | and the big race | who stopped to help in a race", "a race | a {f.noun} | a {g.noun}", "a race | the big race | winning and losing | a running race")
    t.begin()
    t.say("""
        {h} loved to run, and {h.he} wanted to be the fastest of all.
        "I am the fastest of all," {h} liked to say.
        Everybody said that {h} was very fast.
    """)
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
            "I have no time," thought {h}, and ran past. But {f.name} stopped. "Hold on to me," said {f.name}, and pulled {g.name} up.
            {h} heard it, but {h.he} ran on. It was {f.name} who stopped and helped {g.name} to stand.
        """)
        t.par()
        t.say("""
            {h} won the race. {h.He} stood there with the prize and waited for the cheering. But everybody had gone to {f.name} and {g.name}.
            {h} was first, and {h.he} got the prize. But it was strangely quiet. All the others were standing around {f.name} and saying kind words.
        """)
        t.say("""
            Then {h} understood. {h.He} went to {f.name} and held out the prize. "You are the real winner," {h.he} said. "Next time I will stop, too."
            {h} looked at the prize, and it did not seem to shine any more. "I am sorry, {g.name}," {h.he} said. "I should have stopped." "You can run with us tomorrow," said {g.name}.
        """)
        t.say("""
            The next day the three of them ran together, just for fun, and nobody counted.
            And from that day on, {h} was the first to help.
        """)


PLOTS: tuple[Plot, ...] = (learn_skill, learn_skill, garden, fear, fib, winter_store, moon, race)
