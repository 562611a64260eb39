"""The activity prompts of the VADER paper (arXiv 2407.08737) as a grammar, and sentences to train on.

The paper tests on 45 common animals times three activities; the animals and the training sentences here
are this project's own.
"""

from __future__ import annotations

from itertools import product

from vader_bench.prompts.sets import PromptSet

__all__ = ["ACTIVITIES", "ANIMALS", "activities", "with_article"]

ACTIVITIES = ("riding a bike", "playing chess", "washing the dishes")

ANIMALS = (
    "alligator", "ant", "badger", "bear", "beaver", "bird", "cat", "chicken", "cow", "crab", "deer", "dog",
    "donkey", "duck", "eagle", "elephant", "fox", "frog", "giraffe", "goat", "hamster", "hedgehog", "horse",
    "kangaroo", "koala", "lion", "lizard", "monkey", "mouse", "octopus", "otter", "owl", "panda", "parrot",
    "penguin", "pig", "rabbit", "raccoon", "sheep", "snail", "squirrel", "tiger", "turtle", "wolf", "zebra",
)  # fmt: skip

PEOPLE = (
    "A baker is kneading dough on a floured table.",
    "A barber is trimming the beard of a customer.",
    "A boy is blowing soap bubbles in the yard.",
    "A boy is flying a kite above the dunes.",
    "A carpenter is planing a long board.",
    "A child is building a tower of wooden blocks.",
    "A couple is dancing slowly under paper lanterns.",
    "A farmer is throwing hay over a fence.",
    "A fisherman is hauling a net into his boat.",
    "A florist is tying a bunch of tulips.",
    "A gardener is pulling weeds between two rows of beans.",
    "A girl is doing a handstand against a brick wall.",
    "A girl is feeding pigeons on the town square.",
    "A girl is skipping rope in front of her school.",
    "A grandfather is winding an old clock.",
    "A grandmother is knitting a striped scarf.",
    "A juggler is tossing four oranges in the air.",
    "A man is carrying a ladder along the pavement.",
    "A man is changing the wheel of a van.",
    "A man is hanging wet shirts on a line.",
    "A man is ironing a white shirt.",
    "A man is painting a garden gate green.",
    "A man is peeling potatoes beside the stove.",
    "A man is raking yellow leaves into a heap.",
    "A man is shovelling snow away from his door.",
    "A man is splitting logs with an axe.",
    "A mechanic is wiping oil from her hands.",
    "A musician is tuning a cello on an empty stage.",
    "A nurse is rolling a bandage around a knee.",
    "A painter is mixing blue and white on a palette.",
    "A potter is shaping a bowl on a turning wheel.",
    "A runner is tying his shoes at the side of a track.",
    "A sailor is coiling a rope on the deck.",
    "A shopkeeper is stacking lemons in a crate.",
    "A student is writing on a blackboard with chalk.",
    "A swimmer is diving from a high rock into a lake.",
    "A tailor is threading a needle by the window.",
    "A teacher is turning the pages of a large atlas.",
    "A waiter is balancing three plates on one arm.",
    "A woman is beating a carpet on a balcony.",
    "A woman is brushing the mane of a pony.",
    "A woman is climbing a steep wall without a rope.",
    "A woman is lighting candles on a cake.",
    "A woman is picking cherries from a ladder.",
    "A woman is pouring tea from a copper pot.",
    "A woman is rowing across a misty pond.",
    "A woman is sweeping the steps of a church.",
    "A woman is watering geraniums on a windowsill.",
    "Two children are rolling a snowball down a slope.",
    "Two friends are throwing a frisbee on the lawn.",
)

DEVELOPMENT_PEOPLE = (
    "A boy is carving his name into a pumpkin.",
    "A bricklayer is spreading mortar along a wall.",
    "A child is chasing a paper boat down a gutter.",
    "A conductor is waving at a departing train.",
    "A cook is tossing noodles in a smoking pan.",
    "A dentist is washing her hands at a small sink.",
    "A girl is riding a scooter through a puddle.",
    "A man is bathing a puppy in a tin tub.",
    "A man is folding a map on the bonnet of a car.",
    "A photographer is crouching behind a tripod.",
    "A postman is pushing letters through a slot.",
    "A shepherd is closing the gate of a fold.",
    "A woman is hammering a nail into a beam.",
    "A woman is opening an umbrella in the rain.",
    "A woman is sewing a button onto a coat.",
    "Two men are lifting a piano up some stairs.",
)
DEVELOPMENT_ACTIVITIES = ("playing the guitar", "jogging in a park")


def with_article(noun: str) -> str:
    """Return ``noun`` with *a* or *an*, by its first letter."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def activities() -> PromptSet:
    """Return the set: people in everyday actions to train on, animals in the paper's activities held out.

    Development splits, for tuning, have other people, and every third animal in other activities.
    """
    heldout = [f"{with_article(animal)} {activity}" for animal, activity in product(ANIMALS, ACTIVITIES)]
    others = product(ANIMALS[::3], DEVELOPMENT_ACTIVITIES)
    return PromptSet(
        "activities",
        {
            "train": list(PEOPLE),
            "heldout": heldout,
            "dev_train": list(DEVELOPMENT_PEOPLE),
            "dev_heldout": [f"{with_article(animal)} {activity}" for animal, activity in others],
        },
    )
