"""Loading a language model whose activations are to be read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from emo_harness.activations.sites import Layout, layout_of
from emo_harness.activations.store import ModelFacts
from emo_harness.errors import UserError, first_line, quoted
from emo_harness.model_identity import identities
from emo_harness.resources import embedded_model

ComputedDtype = Literal["float32", "bfloat16", "float16", "auto"]
ADAPTER_FILE = "adapter_model.safetensors"
DTYPES = ("float32", "bfloat16", "float16", "auto")


@dataclass(frozen=True)
class LoadedModel:
    """A model, and everything needed to read from it.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: its own.
        layout: where its sites are.
        facts: what a store says about it.
        tokenizer_id: hash of what the tokenizer is, whatever its folder is called.
    """

    model: Any
    tokenizer: Any
    layout: Layout
    facts: ModelFacts
    tokenizer_id: str


def load_language_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: ComputedDtype = "float32",
    device: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: str | None = None,
    adapter: str | None = None,
    add_bos_token: bool | None = None,
) -> LoadedModel:
    """Load a causal language model, or a model with images for its language half.

    Args:
        name: a folder in Hugging Face format, a repository on the hub, or an embedded model
            ("emo-feelings", "emo-demo").
        revision: branch, tag or commit on the hub.
        dtype: to compute in; "auto" is that of the weights.
        device: "cuda" where there is one, else "cpu".
        trust_remote_code: run code that comes with the model.
        tokenizer: a folder or repository with another tokenizer than the one beside the model.
        adapter: a folder or repository with a PEFT adapter, whose weights are merged into the
            model's.
        add_bos_token: whether texts begin with the beginning-of-sequence token, as lm-eval's
            argument of that name; None leaves it to the tokenizer.

    Raises:
        UserError: there is no such model, it is damaged or incomplete, it has no tokenizer, or its
            layout cannot be reproduced.
    """
    doing = f"loading the model {name}"
    if dtype not in DTYPES:
        raise UserError(
            doing, found=f"dtype {dtype!r}", expected=f"one of {quoted(DTYPES)}", fix="name one"
        )
    where = torch_device(device, doing)
    source = {"revision": revision or "main", "trust_remote_code": trust_remote_code}
    place = embedded_model(name)
    config = _config(place, doing, source)
    model = _model(place, doing, config, dtype, source)
    if adapter:
        model = _with_adapter(model, adapter, doing)
    model = model.to(where).eval()
    if tokenizer:
        # A revision of the model is none of another repository.
        source["revision"] = "main"
    words = _tokenizer(tokenizer or place, doing, source, add_bos_token)
    layout = layout_of(model)
    _check_vocabulary(words, layout, doing)
    model_args = {"pretrained": place} | ({"revision": revision} if revision else {})
    known = identities(model_args | ({"peft": adapter} if adapter else {}))
    identity = (
        " with ".join(one or "unknown" for one in known.values())
        if adapter
        else known["pretrained"]
    )
    facts = ModelFacts(
        name=name,
        revision=revision,
        identity=identity,
        model_type=config.model_type,
        dtype=str(layout.base.dtype).removeprefix("torch."),
        n_layers=layout.n_layers,
        hidden_size=layout.hidden_size,
        vocabulary=int(layout.base.get_input_embeddings().weight.shape[0]),
    )
    return LoadedModel(model, words, layout, facts, tokenizer_id(words))


def tokenizer_id(tokenizer: Any) -> str:
    """SHA-256 (hex) of what decides how a tokenizer splits text, whatever its folder is called."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = {
        "backend": json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab(),
        "special": {k: str(v) for k, v in tokenizer.special_tokens_map.items()},
        "kind": type(tokenizer).__name__ if backend is None else "",
    }
    if backend is not None:
        # Set by whoever called the tokenizer last.
        content["backend"] |= {"padding": None, "truncation": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def torch_device(device: str | None, doing: str) -> torch.device:
    """A device by name: "cuda" where there is one, else "cpu", where none is named.

    Raises:
        UserError: torch finds no such device here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            doing,
            found=f"no device {device!r} ({first_line(error)})",
            expected="a device that torch finds on this machine",
            fix="name one, as cpu or cuda:0, or leave it out",
        ) from error


def _config(name: str, doing: str, source: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise UserError(
            doing,
            found=f"a folder without config.json ({quoted(sorted(_listed(name))) or 'empty'})",
            expected="a model in Hugging Face format",
            fix="give the folder that holds config.json and the weights",
        )
    try:
        return AutoConfig.from_pretrained(name, **source)
    except (OSError, ValueError, KeyError) as error:
        raise _refused(name, doing, error) from error


def _model(name: str, doing: str, config: Any, dtype: str, source: dict[str, Any]) -> Any:
    from safetensors import SafetensorError

    try:
        found, report = _class_for(config, doing).from_pretrained(
            name,
            config=config,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            **source,
        )
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            doing,
            found=f"weights that cannot be read ({first_line(error)})",
            expected="whole safetensors files that fit config.json",
            fix="download or save the model again",
        ) from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(name, doing, error) from error
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise UserError(
            doing,
            found=f"{len(missing)} weights missing, among them {quoted(missing, 3)}",
            expected=f"all weights of {type(found).__name__}",
            fix="complete the model's files: missing weights would be random numbers",
        )
    return found


def _with_adapter(model: Any, adapter: str, doing: str) -> Any:
    """The model with an adapter's weights added to its own."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(
            doing,
            found=f"the adapter {adapter}, and no package 'peft' in this environment",
            expected="what the model was run with",
            fix="pip install peft",
        ) from error
    if Path(adapter).is_dir() and not (Path(adapter) / ADAPTER_FILE).is_file():
        raise UserError(
            doing,
            found=f"an adapter without {ADAPTER_FILE} in {adapter}",
            expected="weights as safetensors",
            fix="save it again with save_pretrained(..., safe_serialization=True)",
        )
    try:
        return PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            doing,
            found=f"an adapter that cannot be loaded ({first_line(error)})",
            expected=f"a PEFT adapter of this model in {adapter}",
            fix="check the adapter's folder, or name a model it is merged into",
        ) from error


def _class_for(config: Any, doing: str) -> Any:
    """The transformers class that loads the language model of a configuration."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    remote = getattr(config, "auto_map", None) or {}
    for kind in (AutoModelForCausalLM, AutoModelForImageTextToText):
        if type(config) in kind._model_mapping or kind.__name__ in remote:
            return kind
    raise UserError(
        doing,
        found=f"a model of the kind {config.model_type!r}",
        expected="a causal language model, or a model with one as its language half",
        fix="choose another model",
    )


def _tokenizer(
    name: str, doing: str, source: dict[str, Any], add_bos_token: bool | None = None
) -> Any:
    from transformers import AutoTokenizer

    asked = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    try:
        found = AutoTokenizer.from_pretrained(name, **source, **asked)
        if add_bos_token is False and getattr(found, "is_fast", False):
            # lm-eval then asks for no special token at all, whatever the tokenizer has learnt.
            from tokenizers.processors import TemplateProcessing

            found.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B")
        return found
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            doing,
            found=f"no tokenizer that can be loaded ({first_line(error)})",
            expected="the model's tokenizer beside it",
            fix="put tokenizer.json and tokenizer_config.json into the model's folder",
        ) from error


def _check_vocabulary(tokenizer: Any, layout: Layout, doing: str) -> None:
    n_rows = int(layout.base.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 0 or largest >= n_rows:
        raise UserError(
            doing,
            found=f"a tokenizer with token ids up to {largest}, a model that knows {n_rows} tokens",
            expected="the tokenizer that the model was trained with",
            fix="put the model's own tokenizer into its folder",
        )


def _refused(name: str, doing: str, error: Exception) -> UserError:
    if "trust_remote_code" in str(error):
        return UserError(
            doing,
            found="a model that brings code of its own",
            expected="a model that transformers knows",
            fix="read that code, and add --trust-remote-code if you trust it",
        )
    if Path(name).is_dir():
        return UserError(
            doing,
            found=first_line(error),
            expected="a model in Hugging Face format with weights as safetensors",
            fix="save it again with save_pretrained(..., safe_serialization=True)",
        )
    return UserError(
        doing,
        found=f"no such folder, and not to be had from the hub ({first_line(error)})",
        expected="a local folder or a repository on the hub",
        fix="look for a misspelt name or revision; a hub needs a network, gated models a login",
    )


def _listed(name: str) -> list[str]:
    return [path.name for path in Path(name).iterdir()]
