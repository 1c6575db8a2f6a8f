"""Text to token ids: the one place that training, sampling, scoring and embedding share.

A tokenizer reads the text of a control token ("<|im_end|>", "<s>") as that token wherever it stands, so
a prompt or a response that spells one out could end its turn and go on as the judge. Here such text is
inert: it becomes the tokens of its characters, and only the template's tokens are control tokens.
`split_special_tokens` of transformers is not enough: a Unigram model has "<s>" among its pieces and
finds it there again, and a normalizer makes one of "＜s＞".
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

# Where a text is cut before it is tokenized. Unicode keeps this code point out of all texts.
_CUT = "\U0010ffff"


class _Controls(NamedTuple):
    """The control tokens of a tokenizer with a template."""

    pattern: re.Pattern[str] | None  # matches their text
    ids: frozenset[int]
    hidden: bool  # whether other text can become one of them (the tokenizer has a normalizer)
    anchor: tuple[str, int] | None  # one of them that takes no white space with it, and its id


def _template(tokenizer: Any) -> str:
    return str(tokenizer.chat_template or "")


@lru_cache(maxsize=4)
def _controls(tokenizer: Any, template: str) -> _Controls:
    """The special tokens of a tokenizer, and the other added tokens that its template writes."""
    added = {str(token): (index, token) for index, token in tokenizer.added_tokens_decoder.items()}
    names = {name for name, (_, token) in added.items() if token.special or name in template}
    names |= {str(token) for token in tokenizer.all_special_tokens}
    # White space controls nothing; one character cannot be cut (`live_tokens` finds it).
    longest_first = sorted((n for n in names if len(n) > 1 and n.strip()), key=len, reverse=True)
    # Text of which a tokenizer knows nothing is the unknown token, which controls nothing either.
    unknown = getattr(tokenizer, "unk_token", None)
    ids = {int(tokenizer.convert_tokens_to_ids(n)) for n in longest_first if n != unknown or n in template}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    anchors = (
        (name, int(added[name][0]))
        for name in sorted(names & set(added))
        if not (added[name][1].lstrip or added[name][1].rstrip or added[name][1].single_word)
    )
    return _Controls(
        re.compile("|".join(map(re.escape, longest_first))) if longest_first else None,
        frozenset(ids),
        bool(ids) and backend is not None and backend.normalizer is not None,
        next((a for a in anchors if tokenizer(a[0], add_special_tokens=False)["input_ids"] == [a[1]]), None),
    )


def holds_control_text(tokenizer: Any, text: str) -> bool:
    """Whether `render` cuts a text: it holds what its tokenizer reads as a control token."""
    return _inert(tokenizer, text) != text


def _inert(tokenizer: Any, text: str) -> str:
    """A text with a cut in everything that its tokenizer reads as a control token."""
    controls = _controls(tokenizer, _template(tokenizer))
    if controls.pattern is None:
        return text
    text = controls.pattern.sub(lambda m: m[0][0] + _CUT + m[0][1:], text)
    if not controls.hidden:
        return text
    done, waiting = [], text.split(_CUT)
    while waiting:
        piece = waiting.pop()
        found = tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
        spans = zip(found["input_ids"], found["offset_mapping"], strict=True)
        places = [(a + b) // 2 for i, (a, b) in spans if i in controls.ids and b - a > 1]
        if places:
            ends = zip([0, *places], [*places, len(piece)], strict=True)
            waiting += [piece[a:b] for a, b in ends]
        else:
            done.append(piece)
    return _CUT.join(reversed(done))


def render(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """Text of a conversation, with a cut in every control token that stands in a message.

    Args:
        tokenizer: transformers tokenizer of the checkpoint, with its chat template.
        messages: turns with `role` and `content`.
        add_generation_prompt: whether the text goes on to where the assistant speaks.
    """
    messages = [{**message, "content": _inert(tokenizer, message["content"])} for message in messages]
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=False
    )


def token_ids(tokenizer: Any, text: str, *, goes_on: bool = False) -> list[int]:
    """Token ids of a text of `render`; the pieces between its cuts are tokenized one by one.

    Args:
        tokenizer: transformers tokenizer of the checkpoint.
        text: what `render` returned, or a part of it.
        goes_on: whether other text stands before this one.
    """
    anchor = _controls(tokenizer, _template(tokenizer)).anchor
    ids: list[int] = []
    for piece in filter(None, text.split(_CUT)):
        if anchor and (ids or goes_on):
            # SentencePiece writes a space before the first word of a text: this is not the first.
            ids += tokenizer(anchor[0] + piece, add_special_tokens=False)["input_ids"][1:]
        else:
            ids += tokenizer(piece, add_special_tokens=False)["input_ids"]
    return ids


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]], prefill: str = "") -> list[int]:
    """Token ids of a conversation up to the point where the assistant speaks.

    Ids and not text go to the engine: tokenizing a rendered template once more would add a second
    beginning-of-sequence token without a word.

    Args:
        tokenizer: transformers tokenizer of the checkpoint, with its chat template.
        messages: turns with `role` and `content`, the last one the user's.
        prefill: start of the assistant's answer. Its tokens follow those of the prompt, also where the
            two texts would merge, as in training (`alma.training_data.completion_ids`).
    """
    text = render(tokenizer, messages, add_generation_prompt=True)
    before = token_ids(tokenizer, text)
    whole = token_ids(tokenizer, text + prefill) if prefill else before
    return whole if whole[: len(before)] == before else before + token_ids(tokenizer, prefill, goes_on=True)


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of plain text, without a template: where a document of the base model begins.

    The text begins with the tokens that the tokenizer puts before every text (a beginning of sequence,
    or none); what some put after it is left out, since the text is to be continued or pooled. A
    control token that the text spells out is inert, as in `render`.
    """
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    starts = (i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return [*whole[: next(starts, 0)], *token_ids(tokenizer, _inert(tokenizer, text))]


def live_tokens(tokenizer: Any) -> list[str]:
    """Control tokens of the template, and of the end of a sequence, that text can still spell out.

    Empty for every tokenizer known: a control token is then a single character, which cannot be cut.
    """
    template = _template(tokenizer)
    added = {str(token): int(index) for index, token in tokenizer.added_tokens_decoder.items()}
    names = [n for n in added if n.strip() and (n in template or n == tokenizer.eos_token)]

    def count(name: str, text: str) -> int:
        return prompt_ids(tokenizer, [{"role": "user", "content": text}]).count(added[name])

    return [name for name in names if count(name, f"a{name}b {name}") > count(name, "ab")]
