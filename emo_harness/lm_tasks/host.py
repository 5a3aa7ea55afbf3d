"""Running lm-eval's own `run` command with our tasks and models at hand.

lm-eval's parser and runner are used as they are. What is exchanged are names that it looks up:
`TaskManager`, since ours knows where our tasks are, and leaves lm-eval's own 14,000 names out of
the index when none of them is asked for; and `Collator` where an engine keeps computed prefixes.
`--use_cache` becomes one path per model and settings.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from emo_harness.errors import UserError, nearest
from emo_harness.images.selection import DEFAULT_SET, is_image, visual_stimuli
from emo_harness.lm_models import WEIGHTS, register_models
from emo_harness.lm_tasks.expand import task_names, write_expanded
from emo_harness.lm_tasks.options import METADATA_KEY, read_options
from emo_harness.stimuli import select

OVERLAY = "emo_harness"
PREFIX = "emo_"
STEER = "--steer"
STEERED_MODELS = ("emo-hf",)
# Models that take prompts with and without images in one run.
WITHOUT_IMAGE = ("emo-vlm",)


def run(arguments: Sequence[str]) -> None:
    """Do what `lm_eval run` does with these arguments.

    Raises:
        UserError: an `emo_` task that does not exist, or a mistake our tasks find.
    """
    from lm_eval._cli.run import Run
    from lm_eval.utils import setup_logging

    from emo_harness.lm_models.engine_order import in_trie_order

    setup_logging()
    _log_as_lm_eval()
    register_models()
    parser = argparse.ArgumentParser(prog="emo")
    Run.create(parser.add_subparsers())
    arguments, steer = _without_steer(arguments)
    parsed, config = _checked_arguments(parser, arguments)
    if steer is not None:
        parsed.model_args = config.model_args = _steered(config, steer)
    if config.model in WITHOUT_IMAGE:
        parsed.metadata = _control_without_image(config.metadata)
    if config.model == "emo-demo":
        # Named in full, so that lm-eval records which model it was.
        config.model_args = {"pretrained": str(WEIGHTS), **config.model_args}
        parsed.model_args = config.model_args
    tasks = [config.tasks] if isinstance(config.tasks, str) else config.tasks
    asked = [name.strip() for part in tasks for name in str(part).split(",")]
    if not asked:
        raise UserError(
            "reading the arguments",
            found="no --tasks",
            expected="the names of tasks, e.g. --tasks emo_bbh_attack",
            fix="`emo tasks list` shows ours",
        )
    if not config.include_path:
        _refuse_unknown(asked)
    _refuse_text_model(config.model, asked)
    if any(name.startswith(PREFIX) for name in asked):
        _refuse_options(parsed.metadata or {}, any(_shows_images(name) for name in asked))
    only_ours = all(name.startswith(PREFIX) for name in asked)
    with in_trie_order(config.model), _our_task_manager(include_defaults=not only_ours):
        if config.use_cache:
            parsed.use_cache = _own_cache(config)
        parsed.func(parsed)


def installed_overlay() -> Path | None:
    """The folder of our tasks in lm-eval's own tree, None where no wheel has put it there."""
    import lm_eval.tasks

    overlay = Path(lm_eval.tasks.__file__).parent / OVERLAY
    return overlay if overlay.is_dir() else None


@contextmanager
def tasks_folder() -> Iterator[Path]:
    """The folder of expanded tasks: the installed overlay, else a temporary one."""
    overlay = installed_overlay()
    if overlay is not None:
        yield overlay
        return
    with tempfile.TemporaryDirectory(prefix="emo-harness-tasks-") as folder:
        write_expanded(Path(folder))
        yield Path(folder)


@contextmanager
def _our_task_manager(*, include_defaults: bool) -> Iterator[None]:
    import lm_eval.tasks

    upstream = lm_eval.tasks.TaskManager
    with ExitStack() as stack:
        ours = stack.enter_context(tasks_folder())

        class OurTaskManager(upstream):  # type: ignore[misc, valid-type]
            """lm-eval's TaskManager, told where our tasks are."""

            def __init__(self, include_path: Any = None, **kwargs: Any) -> None:
                given = include_path if isinstance(include_path, list) else [include_path]
                # The overlay is part of lm-eval's own tree, so a full index has it already.
                inside = include_defaults and ours == installed_overlay()
                paths = [str(p) for p in ([] if inside else [ours]) + [p for p in given if p]]
                super().__init__(
                    **{"include_defaults": include_defaults, **kwargs}, include_path=paths
                )

        lm_eval.tasks.TaskManager = OurTaskManager
        try:
            yield
        finally:
            lm_eval.tasks.TaskManager = upstream


def _without_steer(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without our own `--steer`, and what it says."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(STEER, action="append")
    try:
        ours, theirs = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        ours, theirs = argparse.Namespace(steer=[]), []
    if ours.steer is None:
        return theirs, None
    if len(ours.steer) != 1:
        raise UserError(
            "reading the arguments",
            found=f"{STEER} {len(ours.steer)} times" if ours.steer else f"{STEER} without a value",
            expected="it once, with a value",
            fix=f"e.g. {STEER} axes.safetensors:valence:+1.0; axes can be added to one another "
            "before they are saved",
        )
    return theirs, ours.steer[0]


def _steered(config: Any, steer: str) -> dict[str, Any]:
    """The model's arguments with the steering, which is read here to tell mistakes early."""
    from emo_harness.steer import read_spec

    if config.model not in STEERED_MODELS:
        raise UserError(
            f"reading {STEER}",
            found=f"--model {config.model}",
            expected=f"a model that we steer: {', '.join(STEERED_MODELS)}",
            fix="use --model emo-hf, or write the axis in the format of lm-eval's `steered` model "
            "with `emo steer export`",
        )
    if "steer" in config.model_args:
        raise UserError(
            f"reading {STEER}",
            found="another steering in --model_args",
            expected="one of the two",
            fix=f"leave steer=... out of --model_args, or {STEER} away",
        )
    read_spec(steer).load()
    return {**config.model_args, "steer": steer}


def _control_without_image(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata, in which control shows no image where nothing else was said."""
    emo = metadata.get(METADATA_KEY, {})
    if not isinstance(emo, Mapping):
        # Told when the tasks read it.
        return dict(metadata)
    return {**metadata, METADATA_KEY: {"control_image": "none", **emo}}


def _own_cache(config: Any) -> str:
    """The path of answers that these models and settings share with no others."""
    from emo_harness.lm_models.answer_cache import answer_key, prepare_cache

    chat = ("apply_chat_template", "system_instruction", "fewshot_as_multiturn")
    key = answer_key(
        config.model,
        config.model_args,
        gen_kwargs=config.gen_kwargs,
        seeds=config.seed,
        chat={name: getattr(config, name) for name in chat},
    )
    return prepare_cache(config.use_cache, key)


def _log_as_lm_eval() -> None:
    """Show what our modules log where lm-eval shows its own, from the same level on."""
    theirs, ours = logging.getLogger("lm_eval"), logging.getLogger("emo_harness")
    ours.setLevel(theirs.level)
    reached = logging.getLogger().handlers
    for handler in theirs.handlers:
        # lm-eval's logger tells the root nothing, ours does: what hangs there as well would hear
        # everything twice.
        if handler not in reached:
            ours.addHandler(handler)


def _checked_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, Any]:
    """Parse, and let lm-eval check its arguments before anything is loaded.

    lm-eval raises plain errors here; only at this point are they sure to be the user's.
    """
    from lm_eval.api.registry import model_registry
    from lm_eval.config.evaluate_config import EvaluatorConfig

    fix = "see `emo run --help`"
    logging.disable(logging.WARNING)
    try:
        parsed = parser.parse_args(["run", *arguments])
        with redirect_stdout(io.StringIO()):
            config = EvaluatorConfig.from_cli(parsed)
    except (ValueError, TypeError, OSError) as error:
        found = " ".join(str(error).split())[:200]
        raise UserError(
            "reading the arguments", found=found, expected="what lm_eval run takes", fix=fix
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    if config.limit is not None and not config.limit > 0:
        raise UserError(
            "reading the arguments",
            found=f"--limit {config.limit:g}",
            expected="a number of questions per subtask from 1, or a share below 1",
            fix="leave --limit out to ask all",
        )
    if config.model not in model_registry:
        raise UserError(
            "looking up --model",
            found=f"no model {config.model!r}{nearest(config.model, model_registry.keys())}",
            expected="one of lm-eval's models, or one of ours: emo-hf, emo-vlm, emo-demo",
            fix=fix,
        )
    return parsed, config


def _refuse_options(metadata: Mapping[str, Any], visual: bool) -> None:
    """Tell mistakes in what the tasks are asked for before a model is loaded for them."""
    options = read_options(metadata)
    names = [options.stimuli] if isinstance(options.stimuli, str) else options.stimuli or []
    sentences = select([name for name in names if not is_image(name)])
    if visual:
        stimuli = visual_stimuli(options.images or DEFAULT_SET)
        stimuli.named([name for name in names if is_image(name)], also_known=sentences)


def _shows_images(task: str) -> bool:
    return task.startswith(PREFIX) and "_visual_" in task


def _refuse_text_model(model: str, asked: Sequence[str]) -> None:
    """Tell what lm-eval would tell by a traceback, after the model was loaded."""
    from lm_eval.api.registry import get_model

    shown = [name for name in asked if _shows_images(name)]
    if shown and not getattr(get_model(model), "MULTIMODAL", False):
        raise UserError(
            f"asking {shown[0]} of --model {model}",
            found="a model that is given text alone",
            expected="a model that is shown images",
            fix="use --model emo-vlm, or lm-eval's hf-multimodal",
        )


def _refuse_unknown(asked: Sequence[str]) -> None:
    ours = [name for name in asked if name.startswith(PREFIX) and not name.endswith(".yaml")]
    known = task_names() if ours else []
    for name in ours:
        if not fnmatch.filter(known, name):
            raise UserError(
                "looking up --tasks",
                found=f"no task {name!r}{nearest(name, known)}",
                expected="one of our tasks, such as emo_bbh_attack",
                fix="`emo tasks list` shows every group",
            )
