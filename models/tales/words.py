"""The words of the stories: who, where, what. Plain tables; `text.py` tells stories with them."""

from __future__ import annotations

from dataclasses import dataclass, field

def article(phrase: str) -> str:
    """`phrase` with its indefinite article; the exceptions are words that sound otherwise than they are spelled."""
    sounds_like_consonant = phrase.startswith(("uni", "use", "one"))
    sounds_like_vowel = phrase.startswith(("honest", "hour"))
    return ("an " if (phrase[0] in "aeiou" and not sounds_like_consonant) or sounds_like_vowel else "a ") + phrase


GIRLS = (
    "Lily Mia Anna Rose Ella Nora Ruby Clara Lucy Emma Sara Ivy Molly Daisy Alice Hana Zoe Maya Tilly Grace Nina Elsie "
    "June Poppy Sofia Leila Amina Wren Greta Mei"
).split()
BOYS = (
    "Tom Ben Max Sam Leo Jack Finn Noah Oliver Hugo Theo Will Tim Peter Adam Otto Luca Omar Jonas Felix Henry Eli Milo "
    "George Ravi Kofi Anton Jamie Nico Paul"
).split()
PET_GIRLS = (
    "Hazel Willow Pearl Bella Clover Fern Honey Pippa Dot Luna Olive Maple Ginger Peach Bluebell Nutmeg Tansy Cherry "
    "Minnie Coco Penny Juniper Snowy Velvet Plum"
).split()
PET_BOYS = (
    "Pip Bruno Rusty Barnaby Oscar Basil Digby Chester Bramble Monty Toby Acorn Rufus Buster Pepper Scout Teddy Biscuit "
    "Moss Rowan Jasper Archie Pebble Otis Bertie"
).split()


@dataclass(frozen=True)
class Setting:
    """A world: where it is, and places in it as (the place, a phrase that says where in that place)."""

    place: str  # "a small village by the sea"
    short: str  # "the village"
    spots: tuple[tuple[str, str], ...]
    people: bool  # children and workers live here; otherwise animals do


SETTINGS: dict[str, Setting] = {
    "village": Setting("a small village between green hills", "the village", (
        ("the well", "beside the well"), ("the old mill", "behind the old mill"), ("the market", "under a table at the market"),
        ("the bridge", "under the bridge"), ("the big oak tree", "under the big oak tree"), ("the school", "on the steps of the school"),
        ("the stone wall", "behind the stone wall")), True),
    "seaside": Setting("a little village by the sea", "the village", (
        ("the harbor", "between two boats in the harbor"), ("the beach", "on the beach"), ("the lighthouse", "at the foot of the lighthouse"),
        ("the rocks", "between the rocks"), ("the pier", "at the end of the pier"), ("the sand dunes", "behind the sand dunes")), True),
    "town": Setting("a busy town", "the town", (
        ("the park", "on a bench in the park"), ("the library", "on a shelf in the library"), ("the fountain", "beside the fountain"),
        ("the bus stop", "at the bus stop"), ("the playground", "under the slide in the playground"), ("the corner shop", "outside the corner shop"),
        ("the train station", "on a seat at the train station")), True),
    "farm": Setting("a farm at the end of a long road", "the farm", (
        ("the barn", "behind the barn"), ("the hen house", "behind the hen house"), ("the pond", "at the edge of the pond"),
        ("the apple trees", "under the apple trees"), ("the vegetable garden", "between the rows of cabbages"),
        ("the haystack", "on top of the haystack"), ("the gate", "beside the gate")), True),
    "mountain": Setting("a tiny town high in the mountains", "the mountain town", (
        ("the waterfall", "near the waterfall"), ("the pine trees", "under the pine trees"), ("the goat path", "beside the goat path"),
        ("the stone bridge", "under the stone bridge"), ("the bell tower", "on the stairs of the bell tower"), ("the cave", "inside the cave")), True),
    "island": Setting("a small green island", "the island", (
        ("the cove", "on the sand of the cove"), ("the palm trees", "under the palm trees"), ("the cliff", "at the top of the cliff"),
        ("the fishing huts", "behind the fishing huts"), ("the boat house", "inside the boat house"), ("the spring", "beside the spring")), True),
    "forest": Setting("a quiet forest", "the forest", (
        ("the stream", "beside the stream"), ("the old oak", "under the old oak"), ("the berry bushes", "under the berry bushes"),
        ("the hollow log", "inside the hollow log"), ("the clearing", "in the middle of the clearing"), ("the mossy rock", "behind the mossy rock"),
        ("the tall pine", "at the foot of the tall pine")), False),
    "meadow": Setting("a wide sunny meadow", "the meadow", (
        ("the brook", "beside the brook"), ("the daisy patch", "among the daisies"), ("the willow tree", "under the willow tree"),
        ("the tall grass", "in the tall grass"), ("the fence", "by the fence"), ("the little hill", "on top of the little hill")), False),
    "pond": Setting("the woods around a blue pond", "the woods", (
        ("the reeds", "among the reeds"), ("the flat stone", "on the flat stone"), ("the muddy bank", "on the muddy bank"),
        ("the fallen tree", "under the fallen tree"), ("the lily pads", "near the lily pads"), ("the old boat", "inside the old boat")), False),
    "garden": Setting("a big old garden behind a red house", "the garden", (
        ("the rose bushes", "under the rose bushes"), ("the shed", "behind the shed"), ("the bird bath", "beside the bird bath"),
        ("the bean poles", "between the bean poles"), ("the flower pots", "behind the flower pots"), ("the apple tree", "under the apple tree")), False),
    "hills": Setting("the windy hills", "the hills", (
        ("the pile of stones", "behind the pile of stones"), ("the spring", "beside the spring"), ("the sheep path", "beside the sheep path"),
        ("the lonely thorn tree", "under the lonely thorn tree"), ("the cave", "inside the cave"), ("the heather", "in the heather")), False),
    "jungle": Setting("a warm green jungle", "the jungle", (
        ("the waterfall", "near the waterfall"), ("the mango tree", "under the mango tree"), ("the wide river", "beside the wide river"),
        ("the giant ferns", "behind the giant ferns"), ("the hanging vines", "between the hanging vines"), ("the big rock", "on top of the big rock")), False),
    "snow": Setting("a land of snow and ice", "the land of snow", (
        ("the ice cave", "inside the ice cave"), ("the frozen lake", "at the edge of the frozen lake"), ("the snowy hill", "at the bottom of the snowy hill"),
        ("the tall icicle", "behind the tall icicle"), ("the shore", "on the shore"), ("the fir trees", "under the fir trees")), False),
    "castle": Setting("an old castle on a hill", "the castle", (
        ("the tower", "at the top of the tower"), ("the kitchen", "in the castle kitchen"), ("the rose garden", "in the rose garden"),
        ("the stables", "behind the stables"), ("the drawbridge", "under the drawbridge"), ("the great hall", "in the great hall")), True),
}


@dataclass(frozen=True)
class Kind:
    """A kind of hero: its homes (settings), what it calls its home, how it moves, and adjectives for its looks."""

    noun: str
    settings: tuple[str, ...]
    home: str
    ran: str = "ran"
    looks: tuple[str, ...] = ("small", "little", "young")


_WOODS = ("forest", "meadow", "hills")
ANIMALS: tuple[Kind, ...] = (
    Kind("fox", _WOODS, "den", looks=("red", "small", "young")),
    Kind("rabbit", ("meadow", "forest", "garden"), "burrow", "hopped", ("white", "gray", "small")),
    Kind("mouse", ("garden", "meadow", "forest"), "nest", "scurried", ("tiny", "gray", "little")),
    Kind("bear", ("forest", "hills"), "cave", looks=("brown", "big", "young")),
    Kind("owl", ("forest", "hills"), "hollow tree", "flew", ("gray", "young", "small")),
    Kind("duck", ("pond", "meadow"), "nest in the reeds", "waddled", ("yellow", "white", "little")),
    Kind("frog", ("pond", "garden"), "home under a leaf", "hopped", ("green", "small", "little")),
    Kind("hedgehog", ("garden", "forest", "meadow"), "nest of leaves", "hurried", ("small", "round", "little")),
    Kind("squirrel", ("forest", "garden"), "hollow tree", looks=("red", "gray", "little")),
    Kind("cat", ("garden", "meadow"), "warm basket", looks=("black", "white", "orange")),
    Kind("kitten", ("garden", "meadow"), "warm basket", looks=("black", "white", "fluffy")),
    Kind("dog", ("garden", "meadow", "hills"), "little house", looks=("brown", "white", "spotted")),
    Kind("puppy", ("garden", "meadow"), "little house", looks=("brown", "spotted", "fluffy")),
    Kind("pony", ("meadow", "hills"), "stable", "trotted", ("brown", "white", "young")),
    Kind("goat", ("hills", "meadow"), "shed", "trotted", ("white", "young", "spotted")),
    Kind("lamb", ("meadow", "hills"), "fold", "trotted", ("white", "little", "woolly")),
    Kind("pig", ("garden", "meadow"), "pen", "trotted", ("pink", "round", "little")),
    Kind("turtle", ("pond", "garden"), "home under a log", "walked", ("green", "old", "small")),
    Kind("otter", ("pond",), "den by the water", "slipped", ("brown", "young", "little")),
    Kind("beaver", ("pond",), "lodge", "hurried", ("brown", "young", "small")),
    Kind("deer", ("forest", "meadow"), "bed of ferns", looks=("young", "brown", "gentle")),
    Kind("mole", ("garden", "meadow"), "tunnel", "hurried", ("small", "black", "little")),
    Kind("badger", ("forest", "hills"), "den", "hurried", ("gray", "striped", "young")),
    Kind("crow", ("hills", "forest", "meadow"), "nest", "flew", ("black", "young", "small")),
    Kind("sparrow", ("garden", "meadow"), "nest", "flew", ("brown", "tiny", "little")),
    Kind("robin", ("garden", "forest"), "nest", "flew", ("small", "young", "little")),
    Kind("snail", ("garden",), "home under a flower pot", "crept", ("tiny", "small", "little")),
    Kind("bee", ("garden", "meadow"), "hive", "flew", ("tiny", "yellow", "little")),
    Kind("wolf", ("forest", "hills", "snow"), "den", looks=("gray", "young", "white")),
    Kind("elephant", ("jungle",), "home by the river", looks=("big", "gray", "young")),
    Kind("lion", ("jungle",), "den", looks=("golden", "young", "big")),
    Kind("tiger", ("jungle",), "den", looks=("striped", "young", "orange")),
    Kind("monkey", ("jungle",), "tree house", looks=("brown", "young", "little")),
    Kind("parrot", ("jungle",), "nest", "flew", ("green", "blue", "bright")),
    Kind("penguin", ("snow",), "home on the ice", "waddled", ("small", "young", "round")),
    Kind("seal", ("snow",), "home on the shore", "slid", ("gray", "young", "small")),
    Kind("polar bear", ("snow",), "snow cave", looks=("white", "young", "big")),
    Kind("panda", ("forest", "hills"), "cave", looks=("young", "round", "little")),
    Kind("donkey", ("meadow", "hills"), "stable", "trotted", ("gray", "old", "small")),
    Kind("hen", ("garden", "meadow"), "hen house", "hurried", ("brown", "white", "red")),
    Kind("goose", ("pond", "meadow"), "nest in the reeds", "waddled", ("white", "gray", "young")),
    Kind("cow", ("meadow", "hills"), "stable", "trotted", ("brown", "spotted", "white")),
    Kind("horse", ("meadow", "hills"), "stable", "trotted", ("brown", "white", "black")),
    Kind("sheep", ("meadow", "hills"), "fold", "trotted", ("white", "woolly", "old")),
    Kind("rooster", ("meadow", "garden"), "hen house", "hurried", ("red", "young", "golden")),
    Kind("ant", ("garden", "meadow", "forest"), "ant hill", "hurried", ("tiny", "black", "little")),
    Kind("ladybug", ("garden", "meadow"), "home under a leaf", "flew", ("tiny", "red", "spotted")),
    Kind("butterfly", ("garden", "meadow"), "home in the flowers", "flew", ("yellow", "blue", "little")),
    Kind("caterpillar", ("garden",), "home on a leaf", "crept", ("green", "tiny", "fuzzy")),
    Kind("spider", ("garden", "forest"), "web", "hurried", ("tiny", "black", "little")),
    Kind("bat", ("forest", "hills"), "cave", "flew", ("little", "black", "young")),
    Kind("swan", ("pond",), "nest in the reeds", "hurried", ("white", "young", "gray")),
    Kind("raccoon", ("forest", "pond"), "hollow tree", looks=("gray", "young", "striped")),
    Kind("giraffe", ("jungle",), "home among the trees", looks=("tall", "young", "spotted")),
    Kind("zebra", ("jungle",), "home by the river", looks=("striped", "young", "little")),
    Kind("hippo", ("jungle",), "home by the river", "hurried", ("big", "gray", "young")),
    Kind("crocodile", ("jungle",), "home by the river", "hurried", ("green", "young", "big")),
    Kind("snake", ("jungle", "meadow"), "hole under a stone", "slid", ("green", "little", "striped")),
    Kind("kangaroo", ("hills", "meadow"), "bed of grass", "hopped", ("brown", "young", "little")),
    Kind("koala", ("forest",), "home in a tree", "hurried", ("gray", "young", "little")),
    Kind("dinosaur", ("jungle", "hills"), "cave", looks=("green", "young", "big")),
    Kind("moose", ("forest", "snow"), "bed of moss", "trotted", ("brown", "big", "young")),
    Kind("woodpecker", ("forest", "garden"), "hollow tree", "flew", ("red", "young", "small")),
    Kind("chicken", ("garden", "meadow"), "hen house", "hurried", ("brown", "white", "little")),
)
FANTASY: tuple[Kind, ...] = (
    Kind("dragon", ("hills", "forest"), "cave", "flew", ("green", "young", "red")),
    Kind("unicorn", ("forest", "meadow"), "home among the trees", "trotted", ("white", "young", "silver")),
    Kind("robot", ("town", "farm", "seaside"), "workshop", "rolled", ("small", "silver", "round")),
    Kind("fairy", ("forest", "meadow", "garden"), "home in a flower", "flew", ("tiny", "young", "little")),
    Kind("elf", ("forest", "snow"), "house in a tree", looks=("small", "young", "little")),
    Kind("giant", ("hills", "mountain"), "house of stone", "marched", ("big", "young", "tall")),
    Kind("wizard", ("forest", "castle", "mountain"), "tower", "hurried", ("young", "old", "small")),
    Kind("witch", ("forest", "village"), "crooked house", "hurried", ("young", "old", "small")),
    Kind("princess", ("castle",), "room in the tower", looks=("young", "little")),
    Kind("prince", ("castle",), "room in the tower", looks=("young", "little")),
    Kind("knight", ("castle",), "room by the stables", looks=("young", "tall", "small")),
    Kind("king", ("castle",), "little castle", "hurried", ("old", "young")),
    Kind("queen", ("castle",), "little castle", "hurried", ("old", "young")),
    Kind("pirate", ("island", "seaside"), "ship", "hurried", ("young", "old", "small")),
    Kind("ghost", ("castle", "village"), "attic", "flew", ("little", "white", "young")),
    Kind("sailor", ("island", "seaside"), "boat", "hurried", ("young", "old")),
    Kind("clown", ("town", "village"), "wagon", "hurried", ("young", "small")),
    Kind("gnome", ("garden", "forest"), "house under a root", "hurried", ("tiny", "old", "little")),
    Kind("troll", ("hills", "forest"), "cave", "hurried", ("young", "green", "small")),
)
ONLY = {"princess": "she", "prince": "he", "king": "he", "queen": "she", "witch": "she", "wizard": "he", "hen": "she", "fairy": "she",
        "cow": "she", "rooster": "he"}


@dataclass(frozen=True)
class Worker:
    """A grown-up: where they work, what they give, what they know how to do, and a trouble that a small hero can help with."""

    noun: str
    work: str  # "the bakery"
    gift: str  # "a warm bun"
    skill: str  # "bake bread"
    trouble: str  # "The flour sacks were too heavy for one tired baker."
    help: str  # past tense, hero does it: "carried the flour in small bags"


WORKERS: tuple[Worker, ...] = (
    Worker("baker", "the bakery", "a warm bun", "bake bread", "the bread had to be brought to every house before breakfast", "carried the warm loaves from door to door"),
    Worker("farmer", "the barn", "a basket of apples", "plant seeds", "the sheep had run out through a hole in the fence", "led the sheep home one by one"),
    Worker("gardener", "the greenhouse", "a pot of flowers", "grow roses", "the watering can had a leak and the flowers were thirsty", "carried water from the well in a small cup, again and again"),
    Worker("tailor", "the tailor shop", "a new scarf", "sew", "a whole box of buttons had spilled all over the floor", "picked up every button and sorted them by color"),
    Worker("shoemaker", "the shoe shop", "a pair of laces", "mend shoes", "all the shoes had been mixed up in one big pile", "found the two shoes of every pair"),
    Worker("fisherman", "the boat house", "a shiny shell", "tie knots", "the big net was full of knots", "pulled the knots open with small and careful fingers"),
    Worker("clockmaker", "the clock shop", "a little brass wheel", "fix clocks", "a tiny spring had rolled away under the table", "crawled under the table and found the tiny spring"),
    Worker("painter", "the painting room", "a small brush", "paint", "the blue paint was gone and the sky was not finished", "gathered blueberries to make more blue paint"),
    Worker("librarian", "the library", "a book of stories", "read", "a pile of books had fallen from the shelf", "put the books back in their places"),
    Worker("beekeeper", "the bee garden", "a jar of honey", "care for bees", "there were no flowers left for the bees", "planted clover all around the hives"),
    Worker("carpenter", "the workshop", "a wooden top", "build things", "the nails had fallen into the grass", "found every nail with a magnet"),
    Worker("potter", "the pottery", "a blue bowl", "make pots", "the clay was too dry to use", "fetched water and pressed it into the clay"),
    Worker("shepherd", "the sheep hut", "a ball of soft wool", "play the pipe", "one small sheep was missing from the flock", "followed the little tracks until the lost sheep was found"),
    Worker("cook", "the kitchen", "a bowl of soup", "make soup", "there was no salt and no onion for the soup", "ran to the neighbors and brought back an onion and some salt"),
    Worker("letter carrier", "the post office", "a pretty stamp", "read a map", "the wind had blown the letters down the street", "caught the letters before they fell into the water"),
    Worker("lighthouse keeper", "the lighthouse", "a little lamp", "read the stars", "the window of the big lamp was so dirty that no ship could see it", "washed the glass until it shone"),
    Worker("teacher", "the school", "a golden star", "count", "the wind had mixed up all the drawings of the class", "put the drawings back in order"),
    Worker("miller", "the mill", "a small bag of flour", "grind flour", "a branch was stuck in the mill wheel", "pulled the branch out of the wheel"),
    Worker("toy maker", "the toy shop", "a little wooden horse", "carve wood", "twenty toys had to be painted before evening", "painted a smile on every toy"),
    Worker("blacksmith", "the forge", "a lucky horseshoe", "work with iron", "the fire had gone out and the wood was wet", "brought dry twigs to light the fire again"),
    Worker("doctor", "the doctor's house", "a sweet lemon drop", "care for the sick", "somebody had to bring medicine to the house on the hill", "carried the medicine up the hill without stopping"),
    Worker("musician", "the music room", "a small tin whistle", "play the fiddle", "the fiddle had lost a string on the day of the dance", "found a strong new string in the bottom of an old box"),
)
WORKER_TRAITS = ("kind", "old", "busy", "friendly", "wise", "cheerful", "gentle", "tired", "patient")


@dataclass(frozen=True)
class Thing:
    """An object somebody loves. `use`: base form, `used`: past; `broke` and `mend` tell how it breaks and how it is put right."""

    noun: str
    looks: tuple[str, ...]
    use: str
    used: str
    broke: str
    mend: str


_COLORS = ("red", "blue", "yellow", "green")
THINGS: tuple[Thing, ...] = (
    Thing("kite", (*_COLORS, "striped"), "fly it in the wind", "flew it in the wind", "its thin wooden frame snapped", "tied the frame together with strong string"),
    Thing("ball", (*_COLORS, "bouncy"), "kick it up and down the path", "kicked it up and down the path", "a thorn made a hole in it", "put a patch over the hole"),
    Thing("toy boat", (*_COLORS, "wooden"), "sail it on the water", "sailed it on the water", "its mast broke in two", "made a new mast from a straight twig"),
    Thing("drum", ("red", "little", "round", "tin"), "play it in the morning", "played it in the morning", "its skin tore", "stretched a new skin over it"),
    Thing("lantern", ("golden", "old", "little", "tin"), "light it in the evening", "lit it in the evening", "its glass cracked", "put a new piece of glass in it"),
    Thing("hat", (*_COLORS, "straw", "woolly"), "wear it in the sun", "wore it in the sun", "its brim tore", "sewed the brim with tiny stitches"),
    Thing("scarf", (*_COLORS, "woolly", "soft"), "wear it on cold days", "wore it on cold days", "a long thread came loose", "knitted the loose thread back in"),
    Thing("bell", ("silver", "golden", "little", "brass"), "ring it at breakfast", "rang it at breakfast", "its clapper fell out", "hung a new clapper inside it"),
    Thing("book", ("old", "blue", "thick", "little"), "read it before bed", "read it before bed", "three pages fell out", "glued the pages back in"),
    Thing("basket", ("brown", "round", "little", "old"), "fill it with berries", "filled it with berries", "its handle broke off", "wove a new handle for it"),
    Thing("flute", ("wooden", "silver", "little", "old"), "play it by the water", "played it by the water", "a crack ran down its side", "closed the crack with wax"),
    Thing("umbrella", (*_COLORS, "yellow", "spotted"), "carry it in the rain", "carried it in the rain", "the wind bent it inside out", "bent it back and tied it with wire"),
    Thing("music box", ("tiny", "silver", "old", "wooden"), "listen to it at night", "listened to it at night", "its little wheel stopped turning", "cleaned the wheel with a drop of oil"),
    Thing("teapot", ("blue", "white", "round", "old"), "make tea in it", "made tea in it", "its spout broke off", "glued the spout back on"),
    Thing("blanket", ("soft", "blue", "warm", "old"), "sleep under it", "slept under it", "a big hole tore in the middle", "sewed a patch in the shape of a star over the hole"),
    Thing("wagon", ("red", "little", "wooden", "old"), "pull it along the road", "pulled it along the road", "one of its wheels came off", "put the wheel back with a new pin"),
    Thing("puppet", ("funny", "wooden", "little"), "make it dance", "made it dance", "one of its strings snapped", "tied on a new string"),
    Thing("button", ("shiny", "golden", "blue", "round"), "polish it with a cloth", "polished it with a cloth", "it cracked down the middle", "glued the two halves together"),
    Thing("shell", ("pink", "white", "shiny"), "hold it to one ear and hear the sea", "held it to one ear and heard the sea", "a piece of it chipped off", "smoothed the edge with sand"),
    Thing("key", ("golden", "old", "rusty", "tiny"), "open the little box with it", "opened the little box with it", "it bent in the lock", "hammered it straight again"),
    Thing("whistle", ("silver", "tin", "wooden", "red"), "blow it to call friends", "blew it to call friends", "it was full of mud and would not make a sound", "washed out the mud drop by drop"),
    Thing("teddy bear", ("brown", "old", "soft", "little"), "hug it at bedtime", "hugged it at bedtime", "its arm came off", "sewed the arm back on"),
    Thing("doll", ("little", "wooden", "old", "pretty"), "take it along on walks", "took it along on walks", "its arm came loose", "fastened the arm with a bit of thread"),
    Thing("cup", ("blue", "white", "little", "silver"), "drink warm milk from it", "drank warm milk from it", "its handle broke", "glued the handle back on"),
    Thing("mirror", ("little", "round", "silver"), "make spots of light dance with it", "made spots of light dance with it", "its frame came apart", "nailed the frame back together"),
    Thing("spinning top", ("red", "wooden", "striped"), "spin it on the flat stones", "spun it on the flat stones", "its tip broke", "carved a new tip for it"),
    Thing("sled", ("red", "wooden", "fast", "little"), "ride it down the hill", "rode it down the hill", "one of its runners cracked", "nailed a strip of wood along the runner"),
    Thing("paintbrush", ("little", "soft", "old"), "paint pictures with it", "painted pictures with it", "all of its hairs fell out", "bound new hairs to the handle"),
    Thing("telescope", ("little", "brass", "old"), "look at the stars with it", "looked at the stars with it", "its lens came loose", "set the lens back in place"),
    Thing("ring", ("golden", "silver", "little"), "wear it on special days", "wore it on special days", "its stone fell out", "set the stone back in the ring"),
    Thing("spoon", ("silver", "wooden", "big"), "stir the soup with it", "stirred the soup with it", "its handle cracked", "bound the handle with string"),
    Thing("compass", ("brass", "little", "old"), "find the way with it", "found the way with it", "its needle got stuck", "shook out the sand until the needle moved"),
    Thing("feather", ("blue", "white", "long"), "write letters with it", "wrote letters with it", "its tip broke", "cut a fine new tip"),
    Thing("clock", ("little", "old", "round"), "listen to it tick", "listened to it tick", "it stopped ticking", "cleaned every little wheel inside it"),
    Thing("toy train", ("red", "green", "wooden"), "drive it around the room", "drove it around the room", "a wheel came off", "fastened the wheel with a tiny screw"),
    Thing("bucket", ("red", "tin", "blue"), "carry water in it", "carried water in it", "its bottom cracked", "closed the crack with a bit of tin"),
)


@dataclass(frozen=True)
class Food:
    """Something good to eat: with its article, how it is shared, and what it is made of."""

    a: str  # "a big apple pie"
    noun: str  # "pie"
    part: str  # "a slice of pie"
    parts: tuple[str, str, str] = field(default=("", "", ""))  # three ingredients


FOODS: tuple[Food, ...] = (
    Food("a big apple pie", "pie", "a slice of pie", ("apples", "flour", "butter")),
    Food("a pot of vegetable soup", "soup", "a bowl of soup", ("carrots", "onions", "beans")),
    Food("a loaf of fresh bread", "bread", "a piece of bread", ("flour", "water", "salt")),
    Food("a honey cake", "cake", "a piece of cake", ("honey", "eggs", "flour")),
    Food("a plate of pancakes", "plate of pancakes", "a warm pancake", ("eggs", "milk", "flour")),
    Food("a basket of strawberries", "basket of strawberries", "a handful of strawberries", ("strawberries", "cream", "sugar")),
    Food("a berry tart", "tart", "a piece of tart", ("berries", "sugar", "butter")),
    Food("a bag of roasted nuts", "bag of nuts", "a handful of nuts", ("nuts", "salt", "honey")),
    Food("a round cheese", "cheese", "a piece of cheese", ("milk", "salt", "herbs")),
    Food("a plum pudding", "pudding", "a spoon of pudding", ("plums", "eggs", "sugar")),
    Food("a jar of blackberry jam", "jam", "some bread with jam", ("blackberries", "sugar", "lemon")),
    Food("a tray of ginger cookies", "tray of cookies", "a ginger cookie", ("ginger", "sugar", "butter")),
)

# What a trait looks like. {h} is the hero; pronouns by attribute, see Actor.
TRAITS: dict[str, tuple[str, ...]] = {
    "brave": ("{h.He} was not afraid of the dark, the deep water or the loud wind.", "When others stepped back, {h} stepped forward.",
              "Everyone said that {h} had a lion's heart."),
    "kind": ("{h.He} always stopped to help, even when {h.he} was in a hurry.", "If somebody was sad, {h} was the first to notice.",
             "{h.He} had a soft word for everyone, even for the beetles on the path."),
    "clever": ("{h.He} could find an answer where others saw only a problem.", "{h.He} liked to think before {h.he} spoke.",
               "If a thing was stuck, {h} knew how to get it loose."),
    "curious": ("{h.He} asked more questions in a day than others ask in a year.", "{h.He} wanted to know what was behind every door and under every stone.",
                "\"Why?\" was {h.his} favorite word."),
    "shy": ("{h.He} liked to hide behind others when somebody new came by.", "{h.His} voice was so soft that people often did not hear it.",
            "{h.He} had a lot to say, but {h.he} did not dare to say it."),
    "cheerful": ("{h.He} sang in the morning and hummed in the evening.", "Even on gray days {h} found something to smile about.",
                 "{h.His} laugh was so bright that others had to laugh too."),
    "quiet": ("{h.He} did not say much, but {h.he} saw everything.", "{h.He} liked to sit and listen to the wind.", "{h.He} could sit still for so long that butterflies came to rest on {h.him}."),
    "gentle": ("{h.He} never pulled, never pushed and never shouted.", "Small things were safe in {h.his} care.", "{h.He} spoke softly and walked softly."),
    "playful": ("{h.He} could turn anything into a game.", "{h.He} never walked where {h.he} could jump.", "Work or rest, {h} made a game of it."),
    "careful": ("{h.He} looked twice before every step.", "{h.He} never spilled, never stumbled and never forgot.", "{h.He} counted everything two times, to be sure."),
    "patient": ("{h.He} could wait longer than anyone.", "{h.He} knew that good things take time.", "{h.He} never hurried, and {h.he} never gave up."),
    "proud": ("{h.He} liked to say that nobody could do things better.", "{h.He} held {h.his} head high and did not like to ask for help.", "\"I can do that alone,\" {h.he} always said."),
    "grumpy": ("{h.He} grumbled when it rained and {h.he} grumbled when the sun came out.", "{h.He} did not like noise, visitors or surprises.", "\"Leave me alone,\" was what {h.he} said most often."),
    "lazy": ("{h.He} liked to sleep until noon and then to rest until dinner.", "\"Tomorrow,\" was {h.his} answer to everything.", "{h.He} knew all the soft places where one can lie down."),
    "lonely": ("{h.He} had nobody to play with.", "In the evening {h} sat alone and watched the lights go on far away.", "{h.He} often talked to {h.his} own shadow, because nobody else was there."),
    "sleepy": ("{h.He} yawned at breakfast and {h.he} yawned at lunch.", "{h.He} could fall asleep anywhere, even standing up.", "Nobody could yawn as wide as {h}."),
    "tiny": ("{h.He} was so small that {h.he} could sit in a teacup.", "The grass was like a forest for {h.him}.", "Others often did not see {h.him} at all."),
    "honest": ("{h.He} always told the truth, even when it was hard.", "If {h} said a thing, then it was so.", "{h.He} never kept what was not {h.his} own."),
    "funny": ("{h.He} knew a joke for every hour of the day.", "{h.He} made faces that nobody could resist.", "Wherever {h} went, somebody was laughing."),
    "impatient": ("{h.He} wanted everything at once.", "Waiting was the hardest thing in the world for {h}.", "\"Is it time yet?\" {h.he} asked, ten times a day."),
    "dreamy": ("{h.He} could look at the clouds for hours.", "{h.His} head was full of pictures and songs.", "{h.He} often forgot where {h.he} was going."),
    "greedy": ("{h.He} always wanted a little more than {h.he} had.", "{h.He} counted {h.his} treasures every night.", "\"Mine,\" was a word that {h} used often."),
}
GOOD = ("brave", "kind", "clever", "curious", "cheerful", "quiet", "gentle", "playful", "careful", "patient", "honest", "funny", "tiny", "dreamy", "shy")
# Traits without a sentence of their own: they only name the hero, and teach the model to repeat what it was asked for.
OTHER_TRAITS = (
    "happy", "hungry", "friendly", "helpful", "polite", "silly", "bold", "forgetful", "noisy", "lucky", "strong", "wise", "nervous", "stubborn", "jolly", "busy",
    "merry", "clumsy", "hopeful", "magic", "purple", "pink", "thoughtful", "loyal", "restless", "fearless", "calm", "fluffy", "golden", "daring", "messy", "tidy",
)

# What a place is like, at any time of the year; by the short name of its setting.
DETAILS: dict[str, tuple[str, ...]] = {
    "the village": ("The houses there were small and white.", "Everybody there knew everybody else.", "In the evening one could smell fresh bread in all the streets.", "The roofs were red, and there was always a bird singing."),
    "the town": ("The streets there were loud and full of people.", "There was a clock tower, and its bell could be heard everywhere.", "There were shops on every corner.", "From early morning the streets were full of carts and bicycles."),
    "the mountain town": ("The houses there had steep roofs and green doors.", "In winter the snow reached up to the windows.", "The mountains stood all around like silent giants."),
    "the farm": ("It smelled of hay and warm milk.", "The rooster was always the first to wake up.", "All around lay golden fields."),
    "the island": ("The waves sang all day and all night.", "All around there was nothing but blue water.", "The wind there always tasted of salt."),
    "the forest": ("The trees there were so tall that their tops touched the clouds.", "Soft moss covered the ground like a carpet.", "The light there was green and gold.", "There was always something rustling in the leaves."),
    "the meadow": ("It was full of flowers in every color.", "Bees hummed there from flower to flower.", "The grass moved in the wind like the sea."),
    "the woods": ("The water was as still as a mirror.", "Dragonflies danced over the water.", "In the evening the frogs gave a concert."),
    "the garden": ("Nobody had cut the grass there for years.", "There were roses, beans and one old apple tree.", "It was a whole world, if you were small."),
    "the hills": ("The wind there was never still.", "From up there one could see as far as the sea.", "Purple flowers grew between the stones."),
    "the jungle": ("Bright birds called from the treetops.", "The leaves there were as big as umbrellas.", "It was never quite silent there."),
    "the land of snow": ("Everything there was white and blue.", "At night green lights danced in the sky.", "The snow glittered like a million stars."),
    "the castle": ("It had seven towers and a hundred stairs.", "Its walls were as thick as a tree is tall.", "Flags of red and gold waved from the towers."),
}

# Kinds of things that some plots need.
CARRIED = tuple(t for t in THINGS if t.noun not in ("sled", "wagon", "clock", "mirror"))
GIFTS = tuple(t for t in THINGS if t.noun in ("scarf", "cup", "spoon", "basket", "puppet", "spinning top", "toy boat", "blanket", "hat", "flute", "wagon"))
TOYS = tuple(t for t in THINGS if t.noun in ("kite", "ball", "toy boat", "wagon", "sled", "spinning top", "drum", "toy train", "doll", "puppet"))
