"""One vector per text: the last hidden states of a language model, averaged over the text's tokens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alma.chat_template import text_ids

if TYPE_CHECKING:
    import numpy as np

TOKENS = {"cpu": 2048, "cuda": 65536}  # of a batch, with its padding


def load_encoder(model: str, device: str) -> tuple[Any, Any]:
    """Tokenizer, and model without its head, of a checkpoint folder: in bfloat16 on a GPU, else in float32.

    The states are summed in float32 either way (`mean_pooled`): sums in bfloat16 lose the small differences
    that clusters are made of.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    encoder = AutoModel.from_pretrained(model, dtype=dtype).to(device).eval()
    return tokenizer, encoder


def mean_pooled(hidden: Any, mask: Any) -> Any:
    """Average of hidden states over the tokens that are not padding.

    Args:
        hidden: float32 tensor [batch, tokens, width]. mask: tensor [batch, tokens], 1 for a token.

    Returns:
        float32 tensor [batch, width].
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def batches(lengths: list[int], tokens: int) -> Iterator[list[int]]:
    """Places of texts in batches of at most `tokens` tokens, with padding, or of one; short first."""
    chosen: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if chosen and (len(chosen) + 1) * lengths[i] > tokens:
            yield chosen
            chosen = []
        chosen.append(i)
    if chosen:
        yield chosen


def embed_texts(
    tokenizer: Any, encoder: Any, texts: list[str], advance: Any = None, tokens_per_batch: int | None = None
) -> "np.ndarray":
    """Mean-pooled last hidden states of texts, in their order.

    Texts of like length share a batch, which keeps padding short. Padding is on the right, whatever
    the tokenizer's own side: a causal model numbers positions from the left, so padding there would
    shift them (positions are not masked).

    Args:
        texts: each of at least one token. advance: called with the number of texts done.
        tokens_per_batch: by default that of `TOKENS` for the encoder's device.

    Returns:
        float32 array [texts, width].
    """
    import numpy as np
    import torch

    ids = [text_ids(tokenizer, text) for text in texts]
    most = tokens_per_batch or TOKENS[encoder.device.type]
    found = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
    for chosen in batches([len(own) for own in ids], most):
        width = len(ids[chosen[-1]])
        tokens = torch.zeros((len(chosen), width), dtype=torch.long)  # any id: the mask hides it
        mask = torch.zeros((len(chosen), width), dtype=torch.long)
        for row, i in enumerate(chosen):
            tokens[row, : len(ids[i])] = torch.tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        tokens, mask = tokens.to(encoder.device), mask.to(encoder.device)
        with torch.inference_mode():
            hidden = encoder(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        found[chosen] = mean_pooled(hidden.float(), mask).cpu().numpy()
        if advance is not None:
            advance(len(chosen))
    return found
