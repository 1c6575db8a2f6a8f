"""How many tokens a request takes in the engine: the real layouts, counted before anything is sampled.

A request is a prompt and the longest answer that it asks for; the engine refuses one that is longer than
engine.max_model_len (`alma.engine`). An answer that is not sampled yet counts with the most tokens that it
may have, also where the judge then reads it.
"""

from typing import Any

from alma.chat_template import prompt_ids
from alma.judging import PREFILL, judge_messages, rating_tokens

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
            sampling_length(tokenizer, [{"role": "user", "content": prompt}], max_tokens),
            judge.of_any_response(prompt, max_tokens),
        )
        for prompt in prompts
    ]
