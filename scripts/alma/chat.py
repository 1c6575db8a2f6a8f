"""Render conversations to token ids: the one place that training, sampling and scoring share."""

from typing import Any


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]], prefill: str = "") -> list[int]:
    """Token ids of a conversation up to the point where the assistant speaks.

    Ids and not text go to the engine: tokenizing a rendered template once more would add a second
    beginning-of-sequence token without a word.

    Args:
        tokenizer: transformers tokenizer of the checkpoint, with its chat template.
        messages: turns with `role` and `content`, the last one the user's.
        prefill: start of the assistant's answer; it is tokenized by itself, as training tokenizes
            it directly after the template's generation prompt.
    """
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text + prefill, add_special_tokens=False)["input_ids"]
