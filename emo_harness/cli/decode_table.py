"""What `emo decode` shows at the terminal: the words of every layer, beside those of placebos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emo_harness.decode.meta_prompt import MetaPrompt

# Of the tokens that were skipped for a text, how many are shown.
MOST_SKIPPED = 3
# Between tokens of one word.
JOIN = "·"
_VECTORS = {
    "contrast": "family minus neutral placebos",
    "mean": "family mean",
    "each": "single stimuli",
}
_POOLED = {
    "content": "the last content token",
    "mean": "all tokens, their mean",
    "positions": "every token by its position",
}
_NOTES = (
    "·  these tokens are written as one word     "
    "*  the tokenizer does not give this token back from the text",
    "(in brackets)  better, but cannot stand in a text: special tokens, control characters, white "
    "space, halves of characters",
)


def print_decoding(
    prompts: Sequence[MetaPrompt], result: Mapping[str, Any], remarks: Iterable[str]
) -> None:
    """A table per source, one of the placebos, and how much each kind shares with them."""
    from emo_harness.cli.tables import console, print_table

    where = console()
    tokens = _tokens(result["entries"])
    where.print(
        f"decoded from {result['model']}: {_VECTORS[result['vector']]}, at {result['site']} of "
        f"{_POOLED[result['pooling']]}, by {result['decoder']}; read {_read(result['context'])}",
        markup=False,
        highlight=False,
    )
    metas = [one for one in prompts if one.kind == "meta"]
    with_each = result["vector"] == "each"
    columns = ["layer", *(["stimulus"] if with_each else []), "meta prompt", "overlap"]
    for source in dict.fromkeys(one.source for one in metas):
        own = [one for one in metas if one.source == source]
        if with_each:
            own.sort(key=lambda one: one.vector)
        rows = [
            (
                [
                    str(one.layer),
                    *([one.vector] if with_each else []),
                    _words(one, tokens),
                    _share(one.overlap),
                ],
                False,
            )
            for one in own
        ]
        title = f"{source} ({_counted(result['families'][source], 'stimulus', 'stimuli')})"
        print_table(where, title, columns, rows, [], n_left=len(columns) - 1)
    neutral = [one for one in prompts if one.kind == "neutral"]
    if neutral:
        rows = [([str(one.layer), _words(one, tokens)], False) for one in neutral]
        n = _counted(result["families"]["placebo"], "sentence", "sentences")
        print_table(where, f"neutral placebos ({n})", ["layer", "their mean"], rows, [], n_left=2)
    for line in (*_NOTES, *_shares(prompts, result["k"]), *remarks):
        where.print(line, markup=False, highlight=False)


def _read(context: str) -> str:
    if context == "alone":
        return "alone"
    return f"in {context}" if context.endswith("of the run") else f"behind the {context}"


def _tokens(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Every vector's tokens by what it is."""
    return {
        (e["source"], e["kind"], e["vector"], e["layer"], e["draw"], e["position"] or 0): e[
            "tokens"
        ]
        for e in entries
    }


def _words(
    prompt: MetaPrompt, tokens: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]]
) -> str:
    """The tokens of the text, and those that would have come before them."""
    key = (prompt.source, prompt.kind, prompt.vector, prompt.layer, prompt.draw)
    shown = ""
    for position in range(len(prompt.ranked)):
        at = (*key, position)
        own = tokens[at]
        last = max((i for i, token in enumerate(own) if token["in_text"]), default=len(own) - 1)
        n_skipped = 0
        for token in own[: last + 1]:
            if token["in_text"]:
                begins = token["token"][:1].isspace() or shown.endswith((")", " "))
                mark = "" if token["survives"] else "*"
                between = "" if not shown else " " if begins else JOIN
                shown += f"{between}{token['token'].strip()}{mark}"
                continue
            n_skipped += 1
            if n_skipped <= MOST_SKIPPED:
                shown += f" ({_signs(token['token'])})"
        if n_skipped > MOST_SKIPPED:
            shown += f" ({n_skipped - MOST_SKIPPED} more left out)"
    return shown.strip()


def _signs(token: str) -> str:
    """A token that cannot be seen, as signs."""
    return repr(token)[1:-1] if token.strip(" ") else token.replace(" ", "␣")


def _share(overlap: float | None) -> str:
    return "unknown" if overlap is None else f"{100 * overlap:.0f}%"


def _shares(prompts: Sequence[MetaPrompt], k: int) -> list[str]:
    """How much of what each kind decodes to the placebos decode to, averaged over layers."""
    told = []
    for source in dict.fromkeys(one.source for one in prompts if one.kind == "meta"):
        parts = []
        for kind, name in (("meta", "meta"), ("permuted", "labels permuted"), ("random", "random")):
            known = [
                one.overlap
                for one in prompts
                if (one.source, one.kind) == (source, kind) and one.overlap is not None
            ]
            if known:
                parts.append(f"{name} {_share(sum(known) / len(known))}")
        if parts:
            told.append(f"{source}: {', '.join(parts)}")
    if not told:
        return []
    return [
        f"overlap  share of the top {k} that the placebos' mean has too; over all layers "
        + "; ".join(told)
    ]


def _counted(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"
