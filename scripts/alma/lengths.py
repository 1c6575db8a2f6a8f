"""How many tokens a request takes in the engine: the real layouts, counted before anything is sampled.

A request is a prompt and the longest answer that it asks for; the engine refuses one that is longer than
engine.max_model_len (`alma.engine`). An answer that is not sampled yet counts with the most tokens that it
may have, also where the judge then reads it.
"""

from typing import Any

from alma.chat_template import holds_control_text, prompt_ids, render
from alma.judging import PREFILL, judge_messages, rating_tokens
from alma.tables import user

Row = dict[str, Any]
Messages = list[dict[str, str]]


def sampling_length(tokenizer: Any, messages: Messages, max_tokens: int) -> int:
    """Tokens of a request that samples an answer to a conversation."""
    return len(prompt_ids(tokenizer, messages)) + max_tokens


class JudgeLengths:
    """Tokens of the judge's requests.

    Args:
        tokenizer: of the judge, which is that of the base model.
        examples: rated rows in the context of a few-shot judge.

    Raises:
        InputError: the judge cannot read its ratings with this tokenizer (`alma.judging.rating_tokens`).
    """

    def __init__(self, tokenizer: Any, examples: list[Row] | None = None) -> None:
        self._tokenizer, self._examples = tokenizer, examples
        # The engine asks for a rating's tokens one by one, the first of two forced.
        self._answer = max(len(rating) for rating in rating_tokens(tokenizer))

    def of(self, prompt: str, response: str) -> int:
        """Tokens of a request that rates a response."""
        messages = judge_messages(prompt, response, self._examples)
        return len(prompt_ids(self._tokenizer, messages, PREFILL)) + self._answer

    def of_any_response(self, prompt: str, max_tokens: int) -> int:
        """Tokens of a request that rates a response of `max_tokens` tokens."""
        return self.of(prompt, "") + max_tokens


def prompt_lengths(tokenizer: Any, prompts: list[str], max_tokens: int) -> list[int]:
    """Tokens of the longest request that each new prompt leads to: its response, or that one's score.

    A few-shot judge needs more room (`check_lengths`): prompts do not depend on which judge scores them.
    """
    judge = JudgeLengths(tokenizer)
    return [
        max(
            sampling_length(tokenizer, user(prompt), max_tokens),
            judge.of_any_response(prompt, max_tokens),
        )
        for prompt in prompts
    ]


def too_long(tokenizer: Any, prompts: list[str], max_tokens: int, limit: int) -> list[bool]:
    """Whether a new prompt leads to a request of more than `limit` tokens (`prompt_lengths`).

    To render and tokenize a prompt costs more than all other filters together, and nearly all prompts are far
    below the limit. An ASCII character is at most one token, so the length of such a prompt in characters
    tells that it fits; the others are tokenized.
    """
    enough = _characters_that_fit(tokenizer, max_tokens, limit)

    def surely_fits(prompt: str) -> bool:
        return len(prompt) <= enough and prompt.isascii() and not holds_control_text(tokenizer, prompt)

    asked = [prompt for prompt in prompts if not surely_fits(prompt)]
    long = {
        prompt: length > limit
        for prompt, length in zip(asked, prompt_lengths(tokenizer, asked, max_tokens), strict=True)
    }
    return [long.get(prompt, False) for prompt in prompts]


# Tokens that the template's text beside a prompt may have more than beside another one, where they touch.
_TOUCHING = 32


def _characters_that_fit(tokenizer: Any, max_tokens: int, limit: int) -> int:
    """ASCII characters of a prompt whose requests fit for certain."""
    mark = "prompt"

    def marks(prompt: str) -> list[int]:
        """How often the mark stands in each request for a prompt."""
        layouts: list[Messages] = [user(prompt), judge_messages(prompt, "")]
        return [render(tokenizer, one, add_generation_prompt=True).count(mark) for one in layouts]

    times = [with_it - without for with_it, without in zip(marks(mark), marks(""), strict=True)]
    if min(times) < 1:  # the template changes what it is given
        return -1
    (fixed,) = prompt_lengths(tokenizer, [""], max_tokens)
    return (limit - fixed - _TOUCHING) // max(times)
