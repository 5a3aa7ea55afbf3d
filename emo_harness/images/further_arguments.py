"""Arguments of a pipeline's call that a user sets beyond those that have an option of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emo_harness.errors import UserError, nearest, quoted

Argument = float | int | str | bool | None
# What the harness itself says to a pipeline, and whence it has it.
OWN = {
    "prompt": "the recipe's `prompt`",
    "negative_prompt": "the recipe's `negative_prompt`",
    "generator": "the recipe's `seeds`",
    "height": "--size",
    "width": "--size",
}
# What changes how many images come, and as what; and what is no number, word or switch.
_UNFIT = ("num_images_per_prompt", "output_type", "return_dict", "timesteps", "sigmas")
_UNFIT_PARTS = ("latents", "embeds", "callback", "attention_mask", "image", "kwargs")


def further_arguments(
    arguments: Mapping[str, Argument],
    parameters: Iterable[str],
    own: Mapping[str, str],
    doing: str,
) -> dict[str, Argument]:
    """The arguments, which the pipeline takes and nothing else says already.

    Args:
        parameters: names that the pipeline's call takes.
        own: by name what says it already: an option, or the recipe.
        doing: what they are for, for the message.

    Raises:
        UserError: one of them has an option of its own, is not known, or breaks the call.
    """
    known = [name for name in parameters if name not in ("self", "args", "kwargs")]
    free = [name for name in known if name not in own and not _is_unfit(name)]
    strange = next((name for name in arguments if name not in free), None)
    if strange is None:
        return dict(arguments)
    found = f"--set {strange}={arguments[strange]}"
    expected = f"one of {quoted(sorted(free), 40)}"
    fix = "see the pipeline's documentation"
    if strange in own:
        expected, fix = f"{own[strange]}, which says it", f"use {own[strange]} instead"
    elif strange in known:
        found += ", which cannot be set: not a number, a word or a switch, or not one image a text"
        fix = "leave it out"
    else:
        found += nearest(strange, free)
    raise UserError(doing, found=found, expected=expected, fix=fix)


def _is_unfit(name: str) -> bool:
    return name in _UNFIT or any(part in name for part in _UNFIT_PARTS)
