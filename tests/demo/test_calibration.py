"""The calibration benchmark: deterministic, correct, evenly drawn, never trained on."""

import itertools

import numpy as np
import pytest

from emo_harness.benchmarks import calibration
from emo_harness.demo.corpus import BBH_EXPRESSION_WORDS, boolean_question


def _by_python_truth_tables(expression: str) -> bool:
    """An independent evaluator: rewrite by precedence until one literal is left."""
    words = expression.split()
    while len(words) > 1:
        words = _reduce_once(words)
    return words[0] == "True"


def _reduce_once(words: list[str]) -> list[str]:
    literals = ("True", "False")
    for at in range(len(words) - 2):
        if words[at] == "(" and words[at + 1] in literals and words[at + 2] == ")":
            return [*words[:at], words[at + 1], *words[at + 3 :]]
    for at in reversed(range(len(words) - 1)):
        if words[at] == "not" and words[at + 1] in literals:
            return [*words[:at], str(words[at + 1] == "False"), *words[at + 2 :]]
    for operator, result in (
        ("and", lambda a, b: a == b == "True"),
        ("or", lambda a, b: "True" in (a, b)),
    ):
        for at in range(len(words) - 2):
            left, middle, right = words[at : at + 3]
            before = words[at - 1] if at else ""
            after = words[at + 3] if at + 3 < len(words) else ""
            binds_tighter = operator == "or" and ("and" in (before, after) or before == "not")
            if middle == operator and {left, right} <= set(literals) and not binds_tighter:
                return [*words[:at], str(result(left, right)), *words[at + 3 :]]
    raise AssertionError(f"cannot reduce {' '.join(words)}")


def test_a_question_depends_on_seed_and_index_alone() -> None:
    long = calibration.calibration_questions(12, seed=5)
    assert long[:4] == calibration.calibration_questions(4, seed=5)
    assert long[7:] == calibration.calibration_questions(5, seed=5, start=7)
    assert long != calibration.calibration_questions(12, seed=6)


def test_targets_agree_with_an_independent_evaluator() -> None:
    for question in calibration.calibration_questions(200):
        expression = question["input"].removesuffix(" is")
        assert question["target"] == str(_by_python_truth_tables(expression))


@pytest.mark.parametrize("n_words", [1, 2, 3, 4])
def test_counts_agree_with_brute_force(n_words: int) -> None:
    words = ("True", "False", "not", "and", "or", "(", ")")
    grammatical = 0
    for candidate in itertools.product(words, repeat=n_words):
        try:
            calibration.evaluate_boolean(" ".join(candidate))
        except (ValueError, IndexError):
            continue
        grammatical += _is_grammatical(list(candidate))
    assert calibration.count_expressions(n_words) == grammatical


def _is_grammatical(words: list[str]) -> bool:
    """Reduce operands and pairs to the word E by the grammar's productions."""
    words = ["E" if word in ("True", "False") else word for word in words]
    patterns = (["(", "E", ")"], ["not", "E"], ["E", "and", "E"], ["E", "or", "E"])
    reducible = True
    while reducible:
        reducible = False
        for pattern in patterns:
            for at in range(len(words) - len(pattern) + 1):
                if words[at : at + len(pattern)] == pattern:
                    words[at : at + len(pattern)] = ["E"]
                    reducible = True
                    break
    return words == ["E"]


def test_expressions_of_one_length_are_equally_likely() -> None:
    rng = np.random.default_rng(3)
    drawn = [calibration.boolean_expression(rng, 4) for _ in range(4400)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == calibration.count_expressions(4)
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert chi_square < 60


def test_training_never_sees_a_calibration_question_nor_one_of_bbh_length() -> None:
    rng = np.random.default_rng(0)
    for _ in range(1500):
        expression = boolean_question(rng).text.removesuffix(" is")
        assert not calibration.is_reserved(expression)
        assert len(expression.split()) != BBH_EXPRESSION_WORDS
    for question in calibration.calibration_questions(300):
        assert calibration.is_reserved(question["input"].removesuffix(" is"))
