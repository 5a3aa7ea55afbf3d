"""Where a stimulus stands in its prompt, also where the question says the same."""

from __future__ import annotations

import pytest

from emo_harness import placement
from emo_harness.runs.stimulus_span import stimulus_span

SAID = "Are you sure?"
# The question says what the stimulus says, before and behind where it goes.
QUESTION = f"{SAID} Bob asked: {SAID}"
DESCRIPTION = f"Tell what is true. {SAID}\n\n"


def rendered(description: str, question: str) -> str:
    import jinja2

    return jinja2.Template(description + question, keep_trailing_newline=True).render()


@pytest.mark.parametrize(
    ("where", "description"),
    [
        (where, description)
        for where in ("suffix", "prefix", "instruction", "system")
        for description in (DESCRIPTION, "Tell what is true.\n\n", "")
        # A task without a description takes no stimulus behind it.
        if description or where != "instruction"
    ],
)
def test_the_stimulus_is_found_among_sentences_that_say_the_same(
    where: str, description: str
) -> None:
    template = f'Q: {{{{ "{QUESTION}" }}}}\nA:'
    control = rendered(description, template)
    if where == "suffix":
        prompt = rendered(description, placement.suffix(template, SAID))
        expected = prompt.rindex(SAID)
    elif where == "prefix":
        prompt, expected = placement.prefix(control, SAID), 0
    elif where == "instruction":
        prompt = rendered(placement.instruction(description, SAID, "a task"), template)
        expected = len(description.rstrip()) + 1
    else:
        told = placement.system(description.rstrip() or None, SAID)
        prompt = f"<system>{told}\n<user>{QUESTION}\n<assistant>"
        with_system = f"<system>{description.rstrip()}\n" if description else ""
        control = f"{with_system}<user>{QUESTION}\n<assistant>"
        expected = prompt.index("\n<user>") - len(SAID)
    assert stimulus_span(prompt, control, SAID, where) == (expected, expected + len(SAID))


def test_a_stimulus_that_is_not_there_has_no_place() -> None:
    assert stimulus_span("Q: b\nA:", "Q: b\nA:", SAID, "suffix") is None
