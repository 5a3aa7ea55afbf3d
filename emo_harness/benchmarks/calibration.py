"""The calibration benchmark: Boolean expressions in BBH's format, as many as a measurement needs.

BBH's 250 `boolean_expressions` are drawn evenly from the 2,122 expressions of exactly eight words.
The calibration questions are drawn in the same way from longer ones (`LENGTHS`), so that 20,000 of
them are almost all distinct. An expression is *reserved* for calibration when a hash of its text
says so; the demo model's training skips reserved expressions, so no calibration question was ever
seen.

>>> calibration_questions(2, seed=7)[1] == calibration_questions(1, seed=7, start=1)[0]
True
"""

import hashlib
from functools import cache

import numpy as np

SUBTASK = "boolean_expressions"
DESCRIPTION = "Evaluate the result of a random Boolean expression.\n\n"
CHOICES = ("True", "False")
LENGTHS = (12, 13, 14)
"""Words per calibration expression, without the closing `is`; each length is equally likely."""
DEFAULT_SEED = 20
RESERVED_MODULUS = 8

_LITERALS = ("True", "False")
_OPERATORS = ("and", "or")


def calibration_questions(
    n: int, *, seed: int = DEFAULT_SEED, start: int = 0
) -> list[dict[str, str]]:
    """Questions `start` to `start + n - 1` of the endless list that `seed` names.

    Each has `input` (`... is`), `target` (`"True"` or `"False"`) and `question_class` (see
    `question_class`). A question depends on `(seed, index)` alone, never on `n` or `start`.
    """
    return [_question(seed, index) for index in range(start, start + n)]


def zero_shot_prompt(expression_input: str) -> str:
    """The untouched upstream prompt of a question: description, question, answer cue."""
    return f"{DESCRIPTION}Q: {expression_input}\nA:"


def boolean_expression(rng: np.random.Generator, n_words: int) -> str:
    """One expression of exactly `n_words` words, every such expression being equally likely.

    The grammar has one derivation per text, with E an expression and U an operand:
    E = U | U and E | U or E;  U = True | False | not U | ( E ).
    """
    return " ".join(_draw_expression(rng, n_words))


def evaluate_boolean(expression: str) -> bool:
    """The value of an expression: `not` binds tighter than `and`, `and` tighter than `or`.

    >>> evaluate_boolean("True or not ( True ) and False")
    True
    """
    value, end = _read_or(expression.split(), 0)
    if end != len(expression.split()):
        raise ValueError(f"not a Boolean expression: {expression!r}")
    return value


def question_class(expression_input: str) -> str:
    """The first and the last word of an expression, the closing `is` left out.

    >>> question_class("not ( True ) and False is")
    'not..False'
    """
    words = expression_input.removesuffix(" is").split()
    return f"{words[0]}..{words[-1]}"


def is_reserved(expression: str) -> bool:
    """Whether an expression belongs to calibration, and so may not be trained on."""
    digest = hashlib.sha256(expression.encode()).digest()
    return int.from_bytes(digest[:8], "big") % RESERVED_MODULUS == 0


@cache
def count_expressions(n_words: int) -> int:
    """How many distinct expressions have exactly `n_words` words."""
    return _count_operands(n_words) + len(_OPERATORS) * sum(
        _count_operands(k) * count_expressions(n_words - 1 - k) for k in range(1, n_words - 1)
    )


def _question(seed: int, index: int) -> dict[str, str]:
    rng = np.random.default_rng([seed, index])
    n_words = int(rng.choice(LENGTHS))
    expression = boolean_expression(rng, n_words)
    while not is_reserved(expression):
        expression = boolean_expression(rng, n_words)
    return {
        "input": f"{expression} is",
        "target": str(evaluate_boolean(expression)),
        "question_class": question_class(expression),
    }


@cache
def _count_operands(n_words: int) -> int:
    if n_words < 1:
        return 0
    if n_words == 1:
        return len(_LITERALS)
    return _count_operands(n_words - 1) + (count_expressions(n_words - 2) if n_words > 2 else 0)


def _draw_expression(rng: np.random.Generator, n_words: int) -> list[str]:
    ticket = int(rng.integers(count_expressions(n_words)))
    ticket -= _count_operands(n_words)
    if ticket < 0:
        return _draw_operand(rng, n_words)
    for k in range(1, n_words - 1):
        n_pairs = _count_operands(k) * count_expressions(n_words - 1 - k)
        for operator in _OPERATORS:
            ticket -= n_pairs
            if ticket < 0:
                rest = _draw_expression(rng, n_words - 1 - k)
                return [*_draw_operand(rng, k), operator, *rest]
    raise AssertionError("the counts of the grammar disagree with its productions")


def _draw_operand(rng: np.random.Generator, n_words: int) -> list[str]:
    if n_words == 1:
        return [_LITERALS[int(rng.integers(len(_LITERALS)))]]
    if int(rng.integers(_count_operands(n_words))) < _count_operands(n_words - 1):
        return ["not", *_draw_operand(rng, n_words - 1)]
    return ["(", *_draw_expression(rng, n_words - 2), ")"]


def _read_or(words: list[str], at: int) -> tuple[bool, int]:
    value, at = _read_and(words, at)
    while at < len(words) and words[at] == "or":
        right, at = _read_and(words, at + 1)
        value = value or right
    return value, at


def _read_and(words: list[str], at: int) -> tuple[bool, int]:
    value, at = _read_operand(words, at)
    while at < len(words) and words[at] == "and":
        right, at = _read_operand(words, at + 1)
        value = value and right
    return value, at


def _read_operand(words: list[str], at: int) -> tuple[bool, int]:
    if words[at] == "not":
        value, at = _read_operand(words, at + 1)
        return not value, at
    if words[at] == "(":
        value, at = _read_or(words, at + 1)
        return value, at + 1
    return words[at] == "True", at + 1
