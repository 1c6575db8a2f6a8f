"""How a checkpoint is asked an evaluation prompt, turn by turn, and how many tokens that takes."""

from collections.abc import Callable
from typing import Any

from alma.fewshot import as_turns
from alma.fitting import EvaluationLengths
from alma.lengths import JudgeLengths, sampling_length
from alma.tables import assistant
from alma.turns import Messages, Row, answered, messages_of, opening, transcript

Ask = Callable[[list[int], list[Messages], int], list[Any]]


def after_examples(messages: Messages, examples: list[Row]) -> Messages:
    """A conversation after seed pairs as earlier turns; a system message stays the first."""
    system = messages[:1] if messages[0]["role"] == "system" else []
    return [*system, *as_turns(examples), *messages[len(system) :]]


class TurnLengths:
    """Tokens of the requests that an evaluation prompt leads to: its answers, and the judge's question.

    An answer that the model gives between two turns counts with the most tokens that it may have.

    Args:
        tokenizer: of the checkpoint, which is that of the base model.
        max_tokens: longest answer.
        turns: messages of the prompts that are conversations (`alma.turns.read_turns`).
    """

    def __init__(self, tokenizer: Any, max_tokens: int, turns: dict[str, Messages]) -> None:
        self._tokenizer, self._max_tokens, self._turns = tokenizer, max_tokens, turns
        self._single, self._judge = EvaluationLengths(tokenizer, max_tokens), JudgeLengths(tokenizer)

    def of(self, row: Row, examples: list[Row] | None = None) -> int:
        """Tokens of the longest request; `examples` are seed pairs before the prompt.

        Args:
            row: of the `eval` table.
        """
        if row["prompt_id"] not in self._turns:
            return self._single.of(row["prompt"], examples)
        messages, own = answered(messages_of(row, self._turns))
        most = (own + 1) * self._max_tokens
        return max(
            sampling_length(self._tokenizer, after_examples(messages, examples or []), most),
            self._judge.of_any_response(transcript(messages), most),
        )

    def fitting(self, rows: list[Row], limit: int) -> list[Row]:
        """The rows of the `eval` table whose prompts fit; how many do not is printed."""
        kept = [row for row in rows if self.of(row) <= limit]
        if len(kept) < len(rows):
            print(
                f"left out {len(rows) - len(kept)} of {len(rows)} evaluation prompts: over {limit} tokens, "
                f"engine.max_model_len, with answers of {self._max_tokens} or the judge's question on them"
            )
        return kept


def ask_in_turns(prompts: list[Messages], ask: Ask) -> list[tuple[Messages, Any]]:
    """The conversation before the last answer, and that answer, of each prompt.

    All prompts are asked their first question in one batch, then those that have a second one, and so on.

    Args:
        prompts: conversations (`alma.turns`), of one user message or of more.
        ask: gets the places of some prompts, their conversations up to a question, and the number of that
            question from 0; it returns completions in the same order, with `text`.
    """
    parts = [opening(messages) for messages in prompts]
    said = [first for first, _ in parts]
    left = [rest for _, rest in parts]
    last: list[Any] = [None] * len(prompts)
    asked, turn = list(range(len(prompts))), 0
    while asked:
        found = ask(asked, [said[i] for i in asked], turn)
        for i, completion in zip(asked, found, strict=True):
            last[i] = completion
        asked, turn = [i for i in asked if left[i]], turn + 1
        for i in asked:
            more, left[i] = opening(left[i])
            said[i] = [*said[i], *assistant(last[i].text.strip()), *more]
    return list(zip(said, last, strict=True))
