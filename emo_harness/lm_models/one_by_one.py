"""Log-likelihoods after prompts with images, each computed by itself."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from emo_harness.lm_models.encoded import EncodedPrompt
from emo_harness.lm_models.prompt_encoder import as_tokens, texts_of_pair
from emo_harness.lm_models.refusals import require_apart, require_room, require_tokens
from emo_harness.lm_models.single_images import UnknownExpansionError
from emo_harness.lm_models.visual_prompt_encoder import Images, VisualPromptEncoder
from emo_harness.lm_models.visual_request import cut_to

Scored = tuple[float, bool]


def score_by_itself(
    lm: Any, encoder: VisualPromptEncoder, context: str, option: str, images: Images
) -> Scored:
    """The log-probability of an option in nats, and whether each of its tokens is the likeliest.

    One forward pass of the model's own, over what the processor makes of the whole: the images are
    encoded anew. A prompt that is too long loses text at its beginning.

    Args:
        lm: a loaded `hf-multimodal`.
        encoder: its prompts.

    Raises:
        UserError: an option without tokens or room, or images that do not fit.
    """
    if not option and context == context.rstrip():
        return 0.0, True
    before, whole = texts_of_pair(context, option)
    n_context = _length(encoder, before, images)
    made = encoder.processed(whole, images)
    ids = made["input_ids"][0].cpu().numpy()
    n_option = len(ids) - n_context
    require_tokens(ids[n_context:], option)
    require_room(n_option, lm.max_length)
    tokens = as_tokens(ids[:n_context])
    prompt = EncodedPrompt(tokens, encoder.what_stays(tokens, tokens == lm.image_token_id))
    kept = prompt.kept_within(lm.max_length + 1 - n_option).tolist()
    # The last token is predicted, and nothing from it.
    inputs = cut_to(made, [*kept, *range(n_context, len(ids) - 1)])
    require_apart(inputs, lm.image_token_id)
    targets = torch.from_numpy(ids[n_context:]).long().to(lm.device)
    with torch.no_grad(), lm.autocast():
        if "logits_to_keep" in inspect.signature(lm.model.forward).parameters:
            inputs["logits_to_keep"] = n_option
        logits = lm.model(**inputs, use_cache=False).logits[0, -n_option:]
    found = F.log_softmax(logits, dim=-1, dtype=lm.softmax_dtype)
    total = float(found.gather(1, targets[:, None]).sum())
    return total, bool((found.argmax(dim=-1) == targets).all())


def _length(encoder: VisualPromptEncoder, text: str, images: Images) -> int:
    try:
        [prompt] = encoder.prompts([(text, images)])
    except UnknownExpansionError:
        return int(encoder.processed(text, images)["input_ids"].shape[1])
    return len(prompt)
