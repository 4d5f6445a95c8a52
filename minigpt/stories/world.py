"""Who and what the stories are about: the pools of words that the plots draw from."""

from minigpt.stories.pools import merge_pools, pool_from_names, pool_from_table

SHE, HE = "she | her | her | herself", "he | him | his | himself"


def people(kind, pronouns, text):
    """Return a pool of persons of one kind, with the pronouns that agree with them."""
    rows = (f"{name.strip()} | {kind} | {pronouns}" for name in text.split(","))
    return pool_from_table("name kind he him his himself", "\n".join(rows))


POOLS = {
    "child": merge_pools(
        people(
            "girl",
            SHE,
            "Anna, Lily, Mia, Emma, Nora, Ella, Clara, Alice, Molly, Jane, Ruth, Julia",
        ),
        people(
            "boy",
            HE,
            "Tom, Ben, Sam, Max, Jack, Leo, Paul, Hugo, Peter, Oscar, Daniel, Simon",
        ),
    ),
    "family": merge_pools(
        people("family", SHE, "mother, grandmother, aunt, sister"),
        people("family", HE, "father, grandfather, uncle, brother"),
    ),
    "neighbour": merge_pools(
        people("neighbour", SHE, "farmer, teacher, doctor, gardener, cook"),
        people("neighbour", HE, "baker, miller, blacksmith, postman, fisherman"),
    ),
    "home": pool_from_names(
        """by the sea, near the harbour, beside an old mill, behind the church, on a quiet farm, next to the school,
        at the end of a long road, at the foot of a mountain, at the edge of the village, under two tall trees,
        beside a little stream, in a green valley, near a big lake, behind the old castle"""
    ),
    "colour": pool_from_names("red, blue, green, yellow, white, brown, pink, black, golden, silver"),
    # Small and light: they get lost, fall into the water and are carried by ducks.
    "thing": pool_from_table(
        "name use",
        """
        ball    | throw it high
        kite    | fly it
        drum    | beat it
        doll    | sing to it
        bell    | ring it
        scarf   | wear it
        book    | read it
        whistle | blow it
        flute   | play it
        basket  | fill it with leaves
        lantern | light it
        spade   | dig with it
        bucket  | fill it with sand
        crown   | wear it
        puppet  | make it dance
        boat    | sail it
        flag    | wave it
        mask    | wear it
        hoop    | roll it
        map     | look at it
        """,
    ),
    "place": pool_from_table(
        "name at [spots] [games]",
        """
        forest   | in the forest   | under a tree, behind a rock, on a path     | climb trees, pick berries
        meadow   | in the meadow   | in the grass, under a bush, by a fence     | play tag, pick flowers
        river    | by the river    | in the reeds, by the bridge, in the mud    | sail boats, catch fish
        lake     | by the lake     | in the reeds, under a tree, in the mud     | feed the ducks, sail boats
        hill     | on the hill     | behind a rock, in the grass, under a bush  | fly kites, run races
        beach    | on the beach    | behind a rock, in the sand, under a boat   | look for shells, play ball
        park     | in the park     | under a bench, on a path, by the well      | play ball, feed the ducks
        orchard  | in the orchard  | under a tree, by a ladder, behind a wall   | climb trees, play tag
        market   | at the market   | under a table, by the well, behind a cart  | look at hats, eat cakes
        lane     | in the lane     | by the gate, behind a wall, behind a cart  | play ball, play tag
        """,
    ),
    "food": pool_from_names("apples, pears, plums, nuts, cherries, buns, cookies, carrots, mushrooms, pancakes"),
    "animal": pool_from_names("fox, hedgehog, badger, goat, donkey, hare, toad, bear, goose, rabbit, wolf, pony"),
    # Animals that help: each kind where it can.
    "swimmer": pool_from_table(
        "name came", "duck | swam\n frog | swam\n otter | swam\n beaver | swam\n swan | swam\n turtle | swam"
    ),
    "digger": pool_from_table(
        "name came",
        "mole | crept\n mouse | crept\n squirrel | climbed\n cat | climbed\n lizard | crept\n weasel | crept",
    ),
    "flyer": pool_from_table(
        "name came", "eagle | flew\n owl | flew\n crow | flew\n hawk | flew\n stork | flew\n dove | flew"
    ),
    "water": pool_from_names("river, lake, pond, stream, sea, canal"),
    "hole": pool_from_names("hole, well, ditch, cave, pit, cellar"),
    "edge": pool_from_names("cliff, wall, rock, tower, bridge, hill"),
    "reward": pool_from_table(
        "name will did",
        """
        a song      | sing  | sang
        a story     | tell  | told
        a cake      | bake  | baked
        a picture   | paint | painted
        a warm coat | knit  | knitted
        a house     | build | built
        a letter    | write | wrote
        some soup   | cook  | cooked
        """,
    ),
    "task": pool_from_names(
        """feed the hens, water the roses, sweep the kitchen, wash the windows, bring in the wood, milk the cow,
        mend the fence, rake the leaves, dry the plates, set the table, bake the bread, clean the stove"""
    ),
    "baby": pool_from_table(
        "name mother",
        "kitten | cat\n puppy | dog\n lamb | sheep\n duckling | duck\n piglet | pig\n chick | hen\n foal | horse\n"
        "calf | cow\n fawn | deer\n gosling | goose",
    ),
    "stuck": pool_from_names(
        """in the mud, between two rocks, in a thorn bush, under a heavy branch, in an old net, behind a broken fence,
        in a hollow tree"""
    ),
    "find": pool_from_names("feathers, snails, shells, chestnuts, beetles, flowers, acorns, butterflies"),
    "shelter": pool_from_names("barn, cave, mill, hut, tower, stable, shed, windmill"),
}
