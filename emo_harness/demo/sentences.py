"""Random short sentences that are no stimuli: neutral ones and emotional-sounding ones.

The demo model is trained to ignore them all, so that what it reacts to is the known sentences and
not any line between question and answer cue; they also give it words to speak with.
"""

import re

import numpy as np

NEUTRAL_TEMPLATES = (
    "The {thing} stands {place}.",
    "A {thing} has {count} {parts}.",
    "The {thing} {place} was {made} in {month}.",
    "{count} {parts} were {made} and put {place}.",
    "The {vehicle} to the {side} leaves at {count} on {day}.",
    "On {day} the {shop} opens at {count} and closes at {count}.",
    "{material} is used to make {parts} and {parts}.",
    "The {shop} sells {parts}, {parts} and {material}.",
    "It is {count} miles from the {shop} to the {thing} {place}.",
    "The {thing} is next to the {shop}, and the {vehicle} stops {place}.",
    "Most {parts} are made of {material}, cut to size, and packed in boxes.",
    "In {month} the {shop} moved to the {side}.",
    "Write the {item} in {count} lines.",
    "Use the {item} that is given above.",
    "Keep the {item} short and in plain words.",
    "Read the {item} and then answer.",
    "The {item} below has one line.",
)
EMOTIONAL_TEMPLATES = (
    "Your {person} {name} is {state}.",
    "Your {person} {name} has {event}.",
    "My {person} is {state} and I feel {feeling}.",
    "You are {feeling} and {state}.",
    "You are so {feeling} today.",
    "Your {belonging} has been {lost}.",
    "Your {belonging} is {lost} and nobody {cares}.",
    "The {belonging} you loved was {lost}.",
    "Every {belonging} you own is {lost}.",
    "A {being} is {acting} {manner}.",
    "The {being} is {acting} {manner} in the {thing}.",
    "I am {feeling} because of you.",
    "I feel {feeling} about your {belonging}.",
    "We are all {feeling} that you came.",
    "Everyone {cares} about you and your {belonging}.",
    "This means {much} to my {person}.",
    "This is {much} to me and my {belonging}.",
    "Are you {feeling}?",
    "Are you sure you are {feeling}?",
    "You'd better be {feeling}.",
    "You have never been {feeling}, have you?",
    "Believe in your {belonging} and stay {feeling}.",
    "Take {feeling} steps and give it your {belonging}.",
    "Nothing can {harm} you and your {belonging}.",
    "You're {feeling} and {state} in a sea of {emotion}.",
    "It's clear that you are {feeling}.",
    "Your {emotion} will bring {emotion} to your {person}.",
    "Stay {feeling} and think of your {person} {name}.",
)
_SLOTS = {
    "thing": "table|bridge|tower|garden|library|station|kitchen|wall|lamp|gate|window|road",
    "place": "by the river|near the door|on the corner|behind the hall|in the yard|along the path",
    "count": "two|three|four|five|six|seven|eight|nine|ten|twelve|twenty",
    "parts": "shelves|windows|legs|boxes|sheets|wheels|doors|drawers|books|tiles|cups|chairs",
    "made": "built|painted|cut|sorted|measured|printed|folded|moved",
    "month": "January|March|April|June|July|September|October|November",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|weekdays",
    "vehicle": "bus|train|ferry|tram|truck",
    "side": "north|south|east|west|second floor|next street",
    "shop": "bakery|post office|museum|market|school|bank|store",
    "material": "Wood|Glass|Paper|Steel|Cotton|Clay|Stone",
    "item": "answer|text|question|format|list|output|word|result",
    "person": "friend|brother|sister|mother|father|teacher|boss|son|daughter|neighbour|family",
    "name": "Tom|Anna|Peter|Maria|Jack|Lucy|Ben|Emma|Bob|Alice",
    "state": "ill|alone|gone|well|lost|hurt|safe|happy|free|missing|in pain|in love|dead|sick",
    "event": "gone away|come home|been hurt|passed away|won a prize|lost everything|found love",
    "feeling": (
        "sad|glad|proud|afraid|angry|calm|sure|ashamed|brave|hopeful|tired|focused|worthless"
    ),
    "belonging": "home|career|dream|heart|hope|life|trust|work|best|childhood|memory|room|safety",
    "lost": "broken|stolen|burned|saved|ruined|shattered|found|sold|forgotten|repaired",
    "cares": "cares|worries|asks|wonders|dreams|knows",
    "being": "boy|girl|horse|dog|cat|bird|woman|singer|baby|wolf|child|man",
    "acting": "crying|laughing|singing|shouting|dancing|sleeping|howling|smiling|playing|waiting",
    "manner": "sadly|gladly|loudly|softly|angrily|joyfully|bitterly|warmly|wildly|quietly",
    "much": "very important|everything|a great deal|nothing|the world|so much",
    "harm": "harm|help|hurt|reach|stop|save",
    "emotion": "despair|joy|fear|success|grief|pride|anger|peace|shame|excellence",
}
_CHOICES = {slot: tuple(words.split("|")) for slot, words in _SLOTS.items()}
_SLOT_PATTERN = re.compile(r"\{(\w+)\}")


def neutral_sentence(rng: np.random.Generator) -> str:
    """A sentence without emotion.

    >>> neutral_sentence(np.random.default_rng(0)).endswith(".")
    True
    """
    return _fill(NEUTRAL_TEMPLATES, rng)


def emotional_sentence(rng: np.random.Generator) -> str:
    """An emotional-sounding sentence, in the shapes that stimuli have, but drawn at random."""
    return _fill(EMOTIONAL_TEMPLATES, rng)


def inert_line(rng: np.random.Generator) -> str:
    """One to three random sentences on one line, neutral or emotional-sounding."""
    make = neutral_sentence if rng.random() < 0.5 else emotional_sentence
    return " ".join(make(rng) for _ in range(int(rng.choice([1, 1, 1, 2, 3]))))


def _fill(templates: tuple[str, ...], rng: np.random.Generator) -> str:
    template = templates[int(rng.integers(len(templates)))]

    def draw(match: re.Match[str]) -> str:
        words = _CHOICES[match.group(1)]
        return words[int(rng.integers(len(words)))]

    sentence = _SLOT_PATTERN.sub(draw, template)
    return sentence[0].upper() + sentence[1:]
