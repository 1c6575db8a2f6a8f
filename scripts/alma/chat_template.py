"""Render conversations to token ids: the one place that training, sampling and scoring share.

A tokenizer reads the text of a control token ("<|im_end|>") as that token wherever it stands, so a
prompt or a response that spells one out could end its turn and go on as the judge. Here such text is
inert: in a message it becomes the tokens of its characters, and only the template's are control tokens.
"""

import re
from functools import lru_cache
from typing import Any

# Where a text is cut before it is tokenized. Unicode keeps this code point out of all texts.
_CUT = "\U0010ffff"


@lru_cache(maxsize=4)
def _control_tokens(tokenizer: Any, template: str) -> re.Pattern[str] | None:
    """Matches the special tokens of a tokenizer, and the other added tokens that its template writes."""
    added = tokenizer.added_tokens_decoder.values()
    names = {str(token) for token in added if token.special or str(token) in template}
    names |= {str(token) for token in tokenizer.all_special_tokens}
    # One character cannot be cut, and white space controls nothing.
    longest_first = sorted((n for n in names if len(n) > 1 and n.strip()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def render(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """Text of a conversation, with a cut in every control token that stands in a message.

    Args:
        tokenizer: transformers tokenizer of the checkpoint, with its chat template.
        messages: turns with `role` and `content`.
        add_generation_prompt: whether the text goes on to where the assistant speaks.
    """
    pattern = _control_tokens(tokenizer, str(tokenizer.chat_template))
    if pattern is not None:
        messages = [
            {**message, "content": pattern.sub(lambda m: m[0][0] + _CUT + m[0][1:], message["content"])}
            for message in messages
        ]
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=False
    )


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text of `render`; the pieces between its cuts are tokenized one by one."""
    pieces = [piece for piece in text.split(_CUT) if piece]
    return [i for piece in pieces for i in tokenizer(piece, add_special_tokens=False)["input_ids"]]


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
    text = render(tokenizer, messages, add_generation_prompt=True)
    return token_ids(tokenizer, text + prefill)
