"""Files of a decoding: the stimulus set, every token as a table, and everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_harness.decode.asked import AskedStimuli
from emo_harness.decode.decoded_set import set_text, stimulus_ids
from emo_harness.decode.meta_prompt import DecodeSettings, MetaPrompt
from emo_harness.decode.result import SCHEMA, entries, token_table
from emo_harness.decode.vocabulary import Vocabulary
from emo_harness.errors import UserError, quoted
from emo_harness.model_identity import loaded_identities
from emo_harness.resources import embedded_model
from emo_harness.stimuli.decoding import Decoder
from emo_harness.whole_file import Writer, text_writer, write_folder

if TYPE_CHECKING:
    from emo_harness.activations.store import ModelFacts

META, TABLE, RESULT = "meta.yaml", "decode.parquet", "decode.json"
TRANSLATORS = "translators.safetensors"
OWN_FILES = (META, TABLE, RESULT, TRANSLATORS)
_POOLED = {
    "content": "the last content token",
    "mean": "the mean over their tokens",
    "positions": "every token position",
}
_VECTORS = {
    "contrast": "a family's mean minus that of the neutral placebos",
    "mean": "a family's mean",
    "each": "single stimuli",
}


@dataclass(frozen=True)
class DecodeFacts:
    """How and where everything was decoded.

    Attributes:
        name: of the model, to show; `facts` are what is known of it.
        layers: of the model, ascending.
        forced: how the model differs from the run's own, where it was forced.
    """

    name: str
    facts: ModelFacts
    site: str
    layers: tuple[int, ...]
    decoder: Decoder
    settings: DecodeSettings
    forced: str | None = None

    @property
    def model_id(self) -> str | None:
        """What stands behind the model's name, as runs record it."""
        known = {"pretrained": embedded_model(self.facts.name), "revision": self.facts.revision}
        return loaded_identities(known).get("pretrained") or self.facts.identity


def decode_result(
    facts: DecodeFacts,
    asked: AskedStimuli,
    prompts: Sequence[MetaPrompt],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Everything as JSON values: how it was decoded, and every vector's tokens."""
    settings = facts.settings
    families = {source: len(members) for source, members in asked.sources.items()}
    if asked.placebos:
        families["placebo"] = len(asked.placebos)
    return {
        "schema_version": SCHEMA,
        "model": facts.name,
        "model_id": facts.model_id,
        "site": facts.site,
        "pooling": settings.pooling,
        "decoder": facts.decoder,
        "vector": settings.vector,
        "layers": list(facts.layers),
        "n_layers": facts.facts.n_layers,
        "k": settings.k,
        "context": asked.context,
        "n_questions": asked.n_questions,
        "left_out": asked.run.left_out if asked.run else {},
        "seed": settings.seed,
        "forced": facts.forced,
        "families": families,
        "entries": entries(prompts, stimulus_ids(prompts), vocabulary),
    }


def decode_files(
    facts: DecodeFacts,
    asked: AskedStimuli,
    prompts: Sequence[MetaPrompt],
    result: Mapping[str, Any],
) -> dict[str, Writer]:
    """What writes each file of a decoding, the JSON last: whoever finds it finds the others.

    Raises:
        UserError: nothing can be a stimulus, or there is too much for a set's file.
    """
    settings = facts.settings
    sources = quoted(asked.sources)
    meta = set_text(
        prompts,
        stimulus_ids(prompts),
        made_in={
            "site": facts.site,
            "n_layers": facts.facts.n_layers,
            "pooling": settings.pooling,
            "decoder": facts.decoder,
            "model": facts.name,
            "model_id": facts.model_id,
        },
        title=f"Meta prompts of {sources}, decoded from {facts.name}",
        description=(
            f"Decoded is {_VECTORS[settings.vector]}, read at {_POOLED[settings.pooling]} "
            f"({asked.context}) at {facts.site} of layers {', '.join(map(str, facts.layers))} "
            f"of {facts.facts.n_layers}, by {facts.decoder}. Beside the meta prompts stand their "
            "controls: random vectors as long, the neutral placebos' mean, labels dealt anew, "
            "shuffled words."
            + (f" Not the run's own model: {facts.forced}." if facts.forced else "")
        ),
    )
    table = token_table(result["entries"])
    return {
        META: text_writer(meta),
        TABLE: lambda path: table.to_parquet(path, index=False),
        RESULT: text_writer(result_text(result)),
    }


def result_text(result: Mapping[str, Any]) -> str:
    """The JSON of a decoding, one line per fact and per entry."""
    facts = {name: value for name, value in result.items() if name != "entries"}
    lines = [f" {_json(name)}: {_json(value)}" for name, value in facts.items()]
    entries_of = ",\n".join(f"  {_json(entry)}" for entry in result["entries"])
    return "{\n" + ",\n".join([*lines, f' "entries": [\n{entries_of}\n ]']) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_decoding(folder: Path, files: Mapping[str, Writer]) -> list[Path]:
    """Write all files of a decoding, or none.

    Raises:
        UserError: the folder cannot be written.
    """
    return write_folder(folder, files, "writing meta prompts")


def require_own_folder(folder: Path) -> None:
    """Raise unless a folder is missing, empty, or holds an earlier decoding alone.

    Raises:
        UserError: it holds anything else, or is no folder.
    """
    doing = f"writing meta prompts to {folder}"
    expected = "a new folder, or one with an earlier decoding alone"
    if folder.exists() and not folder.is_dir():
        raise UserError(doing, found="a file", expected=expected, fix="choose another --out")
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in names if name not in OWN_FILES]
    if foreign or (names and RESULT not in names):
        raise UserError(
            doing,
            found=f"a folder that holds {quoted(foreign or names)}",
            expected=expected,
            fix="choose another --out",
        )
