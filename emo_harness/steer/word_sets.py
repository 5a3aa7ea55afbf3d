"""Word sets: two opposite sets of words, and the tokens with which they begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from emo_harness.errors import UserError, quoted
from emo_harness.resources import resource
from emo_harness.validation import Strict, validated

SHIPPED = "templates/probing/outcomes.yaml"
MAX_FILE_BYTES = 1_000_000
# Whatever comes before a word: tokens after it are the word's own.
_BEFORE = ("He was", "so", "It")

Word = Annotated[str, Field(min_length=1, max_length=100)]


class WordSets(Strict):
    """Words that show a shift, by the pole that they stand at."""

    positive: list[Word] = Field(min_length=1)
    negative: list[Word] = Field(min_length=1)


@dataclass(frozen=True)
class FirstTokens:
    """Tokens by which the next word betrays its set.

    Attributes:
        positive, negative: token ids, different ones, sorted.
        shared: what the tokens that begin words of both sets look like; they count for neither.
        left_out: words without a token that counts.
    """

    positive: tuple[int, ...]
    negative: tuple[int, ...]
    shared: tuple[str, ...]
    left_out: tuple[str, ...]


def load_word_sets(path: Path | None, dimension: str) -> WordSets:
    """Word sets of a file, or the shipped ones.

    Args:
        path: a YAML file with the lists `positive` and `negative`, alone or under the name of a
            dimension; None for the shipped one.
        dimension: which sets of a file with several; a shipped file without them gives valence's.

    Raises:
        UserError: no such file, or no word sets in it.
    """
    file = resource(SHIPPED) if path is None else path
    doing = f"reading the word sets {file.name}"
    fix = "write two YAML lists, `positive:` and `negative:`"
    raw = _read_yaml(file, doing, fix)
    if isinstance(raw, Mapping) and "positive" not in raw and "negative" not in raw:
        name = "valence" if path is None and dimension not in raw else dimension
        if name not in raw:
            raise UserError(
                doing,
                found=f"sets for {quoted(map(str, raw))}" if raw else "no sets",
                expected=f"sets for {dimension!r}",
                fix=f"put `positive:` and `negative:` under `{dimension}:`",
            )
        raw = raw[name]
    sets = validated(WordSets, raw, doing, fix)
    both = sorted(set(sets.positive) & set(sets.negative))
    if both:
        raise UserError(
            doing,
            found=f"{quoted(both)} in both sets",
            expected="every word in one set",
            fix="leave the word out of one of them",
        )
    return sets


def first_tokens(sets: WordSets, tokenizer: Any) -> FirstTokens:
    """The tokens with which a text goes on into a word of either set.

    Raises:
        UserError: a set of whose words none begins with a token of its own.
    """
    found = {
        name: {word: _first_token(word, tokenizer) for word in words}
        for name, words in (("positive", sets.positive), ("negative", sets.negative))
    }
    by_set = {name: {t for t in of.values() if t is not None} for name, of in found.items()}
    shared = by_set["positive"] & by_set["negative"]
    own = {name: sorted(tokens - shared) for name, tokens in by_set.items()}
    for name, tokens in own.items():
        if not tokens:
            raise UserError(
                f"choosing the first tokens of the {name} words",
                found=f"none that begins no word of the other set: {_looks(shared, tokenizer)}",
                expected="at least one word that begins with a token of its own",
                fix="give --words a file of other words, such as the tokenizer knows whole",
            )
    left_out = [
        word
        for of in found.values()
        for word, token in of.items()
        if token is None or token in shared
    ]
    return FirstTokens(
        tuple(own["positive"]),
        tuple(own["negative"]),
        tuple(tokenizer.decode([token]) for token in sorted(shared)),
        tuple(left_out),
    )


def _first_token(word: str, tokenizer: Any) -> int | None:
    """The token that follows a text when ` word` does; None where that cannot be told apart."""
    found = set()
    for before in _BEFORE:
        start = tokenizer.encode(before, add_special_tokens=False)
        whole = tokenizer.encode(f"{before} {word}", add_special_tokens=False)
        if whole[: len(start)] != start or len(whole) == len(start):
            return None
        found.add(whole[len(start)])
    token = found.pop()
    unknown = {tokenizer.unk_token_id} | set(tokenizer.encode(" ", add_special_tokens=False))
    return None if found or token in unknown else int(token)


def _looks(tokens: Sequence[int] | set[int], tokenizer: Any) -> str:
    shown = quoted([repr(tokenizer.decode([token])) for token in sorted(tokens)])
    return f"all begin with {shown}" if tokens else "the tokenizer knows none of them"


def _read_yaml(path: Path, doing: str, fix: str) -> Any:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES:,} bytes")
        raw = yaml.safe_load(path.read_text("utf-8"))
        return TypeAdapter(dict[str, Any]).validate_python(raw, strict=True)
    except OSError as error:
        found = f"{error.strerror}"
    except ValidationError:
        found = "no mapping"
    except (yaml.YAMLError, ValueError) as error:
        found = " ".join(str(error).split())[:120]
    raise UserError(doing, found=found, expected="a YAML file of word sets", fix=fix)
