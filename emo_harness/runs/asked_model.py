"""The model that a run asked, as far as its results file tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emo_harness.command_line import is_secret
from emo_harness.runs.record import Record
from emo_harness.runs.settings import arguments_of

# Where lm-eval's models that bring weights take them from.
WEIGHTS_ARGUMENT = "pretrained"
_SERVER_ARGUMENTS = ("base_url", "api_key")
_ADAPTER_ARGUMENTS = ("peft", "lora_local_path")
_TOKENIZER_ARGUMENTS = ("tokenizer", "tokenizer_path")
# lm-eval's models that add no special tokens unless `add_bos_token` says so.
_NO_SPECIAL_TOKENS = ("sglang", "local-completions", "openai-completions")
_STEERED_BACKEND = "steered"


@dataclass(frozen=True)
class AskedModel:
    """Which model and tokenizer were asked; None or "" where the file does not tell.

    Attributes:
        backend: lm-eval's name of the model class, e.g. "hf".
        name: as lm-eval shows it: a folder, a repository, or what an API calls it.
        arguments: `--model_args`, without secrets.
        n_parameters: of the loaded model.
        revision: that was asked for; `commit` is what it stood for on the hub.
        dtype: it was computed in.
        special_tokens: text and id of "bos" and "eos".
        max_length: context window in tokens.
        identities: what "pretrained", "tokenizer" and "peft" were when the run was made; see
            `model_identity.loaded_identities`.
    """

    backend: str = ""
    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_parameters: int | None = None
    revision: str = ""
    commit: str = ""
    dtype: str = ""
    special_tokens: Mapping[str, tuple[str | None, int | None]] = field(default_factory=dict)
    max_length: int | None = None
    identities: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> str | None:
        """The folder or repository of its weights; None where they are on a server."""
        if any(self.arguments.get(name) for name in _SERVER_ARGUMENTS):
            return None
        return self._text(WEIGHTS_ARGUMENT)

    @property
    def tokenizer(self) -> str | None:
        """Of a tokenizer that was not the one beside the weights."""
        return self._first(_TOKENIZER_ARGUMENTS)

    @property
    def adapter(self) -> str | None:
        return self._first(_ADAPTER_ARGUMENTS)

    @property
    def adds_bos(self) -> bool | None:
        """Whether prompts got special tokens; None where that was left to the tokenizer."""
        given = {"true": True, "false": False}.get(str(self.arguments.get("add_bos_token")).lower())
        return False if given is None and self.backend in _NO_SPECIAL_TOKENS else given

    @property
    def is_steered(self) -> bool:
        return self.backend == _STEERED_BACKEND or bool(self._text("steer"))

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((value for name in names if (value := self._text(name))), None)

    def _text(self, name: str) -> str | None:
        value = self.arguments.get(name)
        return str(value) if value not in (None, "") else None


def asked_model(results: Mapping[str, Any], records: Mapping[str, Record]) -> AskedModel:
    """From a results file and what its tasks recorded, by task."""
    config = results.get("config", {})
    args = arguments_of(config)
    n_parameters = config.get("model_num_parameters")
    max_length = results.get("max_length")
    identities: dict[str, str] = {}
    for record in records.values():
        identities |= record.model
    return AskedModel(
        backend=_text(config.get("model")),
        name=_text(results.get("model_name")),
        arguments={name: value for name, value in args.items() if not is_secret(name)},
        n_parameters=n_parameters if _is_count(n_parameters) else None,
        revision=_text(config.get("model_revision") or args.get("revision")),
        commit=_text(config.get("model_sha")),
        dtype=_text(config.get("model_dtype") or args.get("dtype")).removeprefix("torch."),
        special_tokens={
            name: token
            for name in ("bos", "eos")
            if (token := _token(results.get(f"tokenizer_{name}_token")))
        },
        max_length=max_length if _is_count(max_length) else None,
        identities=identities,
    )


def _token(logged: object) -> tuple[str | None, int | None] | None:
    """lm-eval logs a token's text, and its id as text ("None" where there is none)."""
    if not isinstance(logged, list) or len(logged) != 2:
        return None
    text, number = logged
    is_number = isinstance(number, int) or (isinstance(number, str) and number.isdigit())
    return (str(text) if text is not None else None, int(number) if is_number else None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _text(value: object) -> str:
    return "" if value is None else str(value)
