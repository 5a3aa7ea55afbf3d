import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import apply_template

from emo_harness import placement
from emo_harness.errors import UserError

ONE_LINE = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=80
)


@given(ONE_LINE, ONE_LINE)
def test_suffix_is_its_own_line_between_question_and_cue(question: str, text: str) -> None:
    template = placement.suffix("Q: {{input}}\nA: Let's think.\n", text)
    rendered = apply_template(template, {"input": question})
    assert rendered == f"Q: {question}\n{text}\nA: Let's think.\n"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{input}}", "1 + 1\nBe brave."),
        ("{{input}} =", "1 + 1\nBe brave.\n ="),
        ("Q: {{input}}\n\nA:", "Q: 1 + 1\nBe brave.\n\nA:"),
        ("{% if input %}{{input}}{% endif %}\nA:", "1 + 1\nBe brave.\nA:"),
        ("no expression", "no expression\nBe brave."),
    ],
)
def test_suffix_on_other_templates(template: str, expected: str) -> None:
    placed = placement.suffix(template, "Be brave.")
    assert apply_template(placed, {"input": "1 + 1"}) == expected


@given(ONE_LINE)
def test_instruction_follows_the_description_before_its_blank_line(text: str) -> None:
    placed = placement.instruction("Sort the words.\n\n", text, "a task")
    assert apply_template(placed, {}) == f"Sort the words. {text}\n\n"


@pytest.mark.parametrize("description", ["", "\n\n", "  "])
def test_instruction_refuses_a_task_without_description(description: str) -> None:
    with pytest.raises(UserError, match="without a description"):
        placement.instruction(description, "x", "a task")


def test_prefix_is_the_first_line_of_prompt_and_of_chat() -> None:
    assert placement.prefix("Q", "Be brave.") == "Be brave.\nQ"
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert placement.prefix_messages(messages, "B") == [
        {"role": "system", "content": "B\nS"},
        {"role": "user", "content": "U"},
    ]


def test_system_is_a_paragraph_of_its_own_or_the_whole_message() -> None:
    assert placement.system("Be terse.", "Be brave.") == "Be terse.\n\nBe brave."
    assert placement.system(None, "Be brave.") == "Be brave."
