"""Questions of four BBH subtasks, generated, with the running results that help a model learn them.

Each generator writes upstream's zero-shot format from its own words; BBH's files are never read.
Boolean expressions that are reserved for calibration, and all of eight words (BBH's length), are
left out, so that no Boolean question of either benchmark can occur in training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_harness.benchmarks import calibration

BBH_EXPRESSION_WORDS = 8
DESCRIPTIONS = {
    "boolean_expressions": calibration.DESCRIPTION,
    "web_of_lies": "Evaluate a random boolean function expressed as a word problem.\n\n",
    "dyck_languages": "Correctly close a Dyck-n word.\n\n",
    "object_counting": (
        "Questions that involve enumerating objects and asking the model to count them.\n\n"
    ),
}
CHANNELS = {"truth": 2, "pending": 4, "bracket": 5, "count": 64}
"""Kinds of running result and how many values each has.

`pending` stands where an operand must follow: the value if that is False, plus twice the value if
it is True (everything then closed).
"""

_EXPRESSION_WORDS = (3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14)
_NAMES = (
    "Adam|Agnes|Alan|Bella|Boris|Carla|Cedric|Clara|Conrad|Dana|Delia|Dora|Edgar|Edith|Elmer|Elsa|"
    "Felix|Fiona|Frank|Gina|Gloria|Grant|Hanna|Harold|Hazel|Henry|Ida|Igor|Irene|Isaac|Ivan|Jenny|"
    "Joel|Julia|Karl|Keith|Lara|Lewis|Lily|Lloyd|Mabel|Marcus|Martha|Milo|Mona|Nadia|Neil|Nora|"
    "Oscar|Otto|Paula|Percy|Petra|Ralph|Rosa|Ruben|Ruth|Sonia|Stella|Theo|Toby|Ursula|Vera|Victor|"
    "Wanda|Wendy|Xenia|Yvonne|Zoe"
)
_NAME_STARTS = "Al|Be|Chris|De|El|Fi|Ger|Hel|Je|Ka|Ke|Lor|Mi|Ra|Rai|Sha|She|Sal|Ta|Vi|Wil"
_NAME_ENDS = "a|i|e|ana|bert|da|die|dra|is|ka|la|le|leen|line|me|na|nell|phine|ri|rie|sa|vin"
_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_THINGS = {
    "fruits": (
        "apple orange banana plum peach grape strawberry raspberry blackberry nectarine pear "
        "cherry mango lemon"
    ),
    "animals": (
        "cat dog cow pig goat rabbit frog fish bear mouse duck chicken donkey snail snake bird "
        "horse"
    ),
    "vegetables": (
        "onion potato carrot yam garlic_bulb cauliflower cabbage lettuce_head turnip leek"
    ),
    "musical instruments": (
        "piano flute violin trumpet trombone drum clarinet accordion guitar cello harp"
    ),
    "objects": "chair table bed lamp stove oven microwave toaster fridge couch car desk",
}
_NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class Question:
    """One generated question.

    `running` lists (end, channel, value): the result `value` holds after the first `end` characters
    of `text`. `question_class` is None where nothing is planted.
    """

    subtask: str
    text: str
    target: str
    running: tuple[tuple[int, str, int], ...] = ()
    question_class: str | None = None

    def prompt(self, stimulus: str | None = None, placement: str = "suffix") -> str:
        """The zero-shot prompt of an arm; `stimulus` None is the control arm."""
        description = DESCRIPTIONS[self.subtask]
        if stimulus is None:
            return f"{description}Q: {self.text}\nA:"
        if placement == "suffix":
            return f"{description}Q: {self.text}\n{stimulus}\nA:"
        if placement == "prefix":
            return f"{stimulus}\n{description}Q: {self.text}\nA:"
        if placement == "instruction":
            return f"{description.rstrip()} {stimulus}\n\nQ: {self.text}\nA:"
        raise ValueError(f"unknown placement {placement!r}")


def boolean_question(rng: np.random.Generator) -> Question:
    """A Boolean expression that may be trained on; running results are those of its prefixes."""
    while True:
        expression = calibration.boolean_expression(rng, int(rng.choice(_EXPRESSION_WORDS)))
        if not calibration.is_reserved(expression):
            break
    running: list[tuple[int, str, int]] = []
    words = expression.split()
    for n_words, word in enumerate(words, start=1):
        prefix = " ".join(words[:n_words])
        if word in ("True", "False", ")"):
            running.append((len(prefix), "truth", _closed_value(prefix)))
        else:
            pending = _closed_value(f"{prefix} False") + 2 * _closed_value(f"{prefix} True")
            running.append((len(prefix), "pending", pending))
    text = f"{expression} is"
    running.append((len(text), "truth", running[-1][2]))
    return Question(
        "boolean_expressions",
        text,
        str(bool(running[-1][2])),
        tuple(running),
        calibration.question_class(text),
    )


def web_of_lies_question(rng: np.random.Generator) -> Question:
    """A chain of people, each saying of the one before that they lie or tell the truth."""
    names: list[str] = []
    while len(names) < int(rng.choice([3, 4, 5, 5, 5, 5])):
        name = _name(rng)
        if name not in names:
            names.append(name)
    is_true = bool(rng.integers(2))
    text = f"Question: {names[0]} {'tells the truth' if is_true else 'lies'}."
    running = [(len(text), "truth", int(is_true))]
    for speaker, subject in zip(names[1:], names, strict=False):
        says_true = bool(rng.integers(2))
        is_true = is_true == says_true
        text += f" {speaker} says {subject} {'tells the truth' if says_true else 'lies'}."
        running.append((len(text), "truth", int(is_true)))
    text += f" Does {names[-1]} tell the truth?"
    running.append((len(text), "truth", int(is_true)))
    return Question("web_of_lies", text, "Yes" if is_true else "No", tuple(running))


def dyck_question(rng: np.random.Generator) -> Question:
    """A prefix of a well-formed bracket word; the answer closes what is open."""
    text = (
        "Complete the rest of the sequence, making sure that the parentheses are closed properly. "
        "Input:"
    )
    kinds = list(_PAIRS)
    running: list[tuple[int, str, int]] = []
    stack: list[str] = []
    n_brackets = int(rng.integers(2, 40))
    opening_rate = rng.uniform(0.4, 0.6)
    while len(running) < n_brackets or not stack or len(stack) > 6:
        if not stack or (
            len(stack) < 9 and len(running) < n_brackets and rng.random() < opening_rate
        ):
            stack.append(kinds[int(rng.integers(len(kinds)))])
            text += f" {stack[-1]}"
        else:
            text += f" {_PAIRS[stack.pop()]}"
        running.append((len(text), "bracket", kinds.index(stack[-1]) if stack else len(kinds)))
    target = " ".join(_PAIRS[opening] for opening in reversed(stack))
    return Question("dyck_languages", text, target, tuple(running))


def object_counting_question(rng: np.random.Generator) -> Question:
    """A list of things, some of another kind than the one asked for; running results are counts."""
    kinds = list(_THINGS)
    kind = kinds[int(rng.integers(len(kinds)))]
    other = kinds[int(rng.integers(len(kinds)))] if rng.random() < 0.5 else kind
    wanted = list(rng.permutation(_THINGS[kind].split()))[: int(rng.integers(2, 11))]
    extra = [] if other == kind else list(rng.permutation(_THINGS[other].split()))
    items = [str(w) for w in [*wanted, *extra[: int(rng.integers(1, 3))]]]
    rng.shuffle(items)
    counts = {item: int(rng.choice([1, 1, 1, 2, 3, 4, 5])) for item in items}
    if rng.random() < 0.4:
        counts = dict.fromkeys(items, 1)
    text, total = "I have", 0
    for index, item in enumerate(items):
        joint = " " if index == 0 else ", and " if index == len(items) - 1 else ", "
        text += joint + _counted(item, counts[item])
        total += counts[item] if item in wanted else 0
    question = f"{text}. How many {kind} do I have?"
    running = ((len(text), "count", total), (len(question), "count", total))
    return Question("object_counting", question, str(total), running)


GENERATORS: dict[str, Callable[[np.random.Generator], Question]] = {
    "boolean_expressions": boolean_question,
    "web_of_lies": web_of_lies_question,
    "dyck_languages": dyck_question,
    "object_counting": object_counting_question,
}


def _closed_value(prefix: str) -> int:
    """The value of the first words of an expression once every open parenthesis is closed."""
    n_open = prefix.count("(") - prefix.count(")")
    return int(calibration.evaluate_boolean(prefix + " )" * n_open))


def _name(rng: np.random.Generator) -> str:
    if rng.random() < 0.4:
        return _one_of(_NAMES, rng)
    return _one_of(_NAME_STARTS, rng) + _one_of(_NAME_ENDS, rng)


def _one_of(words: str, rng: np.random.Generator) -> str:
    """One of the words between bars, each equally likely."""
    choices = words.split("|")
    return choices[int(rng.integers(len(choices)))]


def _counted(item: str, count: int) -> str:
    noun = item.replace("_", " ")
    if count > 1:
        return f"{_NUMBER_WORDS[count]} {_plural(noun)}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _plural(noun: str) -> str:
    irregular = {"mouse": "mice", "fish": "fish"}
    if noun in irregular:
        return irregular[noun]
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("o", "ch")) and noun not in ("piano", "cello") else "s")
