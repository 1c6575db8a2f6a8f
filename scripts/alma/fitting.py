"""What people wrote, in a context of limited length: long rows are left out, examples are chosen to fit.

Rows of thousands of tokens are normal in labels. These rules hold in every job, and `check_lengths` applies
them before anything is trained:

- The examples in a context take at most half of engine.max_model_len together, so that the other half is
  there for what they are examples for. They are drawn from all rows; where those of the draw are longer,
  from the rows that are short enough for so many; where there are too few of these, there is one less.
- A request that does not fit after all its examples has the first of them after which it fits.
- A row that does not fit without any example is left out, and counted.
- A response that the judge cannot read for its length has no score.
"""

from collections.abc import Callable
from typing import Any

from alma.errors import InputError
from alma.fewshot import as_turns, example_pairs
from alma.judging import few_shot_examples, score_pairs
from alma.lengths import JudgeLengths, Row, sampling_length
from alma.tables import user

NO_SCORE: dict[str, Any] = {"score": None, "mass": 0.0, "p": [0.0] * 11}


def _choose(
    rows: list[Row],
    count: int,
    room: int,
    length: Callable[[Row], int],
    draw: Callable[[list[Row], int], list[Row]],
) -> list[Row]:
    """Up to `count` rows of at most `room` tokens together; `draw` takes so many of some rows."""
    known: dict[int, int] = {}

    def tokens(row: Row) -> int:
        if id(row) not in known:
            known[id(row)] = length(row)
        return known[id(row)]

    for number in range(min(count, len(rows)), 0, -1):
        drawn = draw(rows, number)
        if sum(map(tokens, drawn)) > room:
            drawn = draw([row for row in rows if tokens(row) <= room // number], number)
        if len(drawn) == number:
            return drawn
    return []


def judge_examples(tokenizer: Any, rows: list[Row], count: int, seed: int, max_model_len: int) -> list[Row]:
    """Rated rows for the context of a few-shot judge: at most `count`, which take half of it at most.

    Args:
        rows: of the `judge` table. seed: of the run (`alma.judging.few_shot_examples`).
    """
    alone = JudgeLengths(tokenizer).of("", "")
    return _choose(
        rows,
        count,
        max_model_len // 2,
        lambda row: JudgeLengths(tokenizer, [row]).of("", "") - alone,
        lambda some, number: few_shot_examples(some, number, seed),
    )


def answer_examples(tokenizer: Any, rows: list[Row], count: int, seed: int, max_model_len: int) -> list[Row]:
    """Seed pairs for the context of the base model: at most `count`, which take half of it at most.

    A conversation with a system message is none of them: few templates take one after other turns.

    Args:
        rows: of the `sft` table. seed: of the run (`alma.fewshot.example_pairs`).
    """
    alone = sampling_length(tokenizer, user(""), 0)
    return _choose(
        [row for row in rows if row["prompt"][0]["role"] != "system"],
        count,
        max_model_len // 2,
        lambda row: sampling_length(tokenizer, [*as_turns([row]), *user("")], 0) - alone,
        lambda some, number: example_pairs(some, number, seed),
    )


def that_fit(examples: list[Any], length: Callable[[list[Any]], int], limit: int) -> list[Any] | None:
    """The first examples of a request, as many as fit; None where it does not fit without any.

    Args:
        length: tokens of the request with some examples.
    """
    fits = (examples[:n] for n in range(len(examples), -1, -1) if length(examples[:n]) <= limit)
    return next(fits, None)


def need_examples(key: str, wanted: int, found: list[Any], rows: int, max_model_len: int) -> None:
    """Refuse labels of which none is short enough to be an example.

    Args:
        key: of the config, with the number of examples. found: those that were chosen out of `rows` rows.
    """
    if wanted and rows and not found:
        raise InputError(
            f"{key}: found {wanted}, but none of {rows} rows has at most {max_model_len // 2} tokens, the "
            f"half of engine.max_model_len = {max_model_len} that examples may take. Raise that, add a short "
            f"row, or set {key} to 0."
        )


class EvaluationLengths:
    """Tokens of the requests that an evaluation prompt leads to: its answer, and the judge's question on it.

    Args:
        tokenizer: of the checkpoint, which is that of the base model.
        max_tokens: longest answer.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._judge = JudgeLengths(tokenizer)

    def of(self, prompt: str, examples: list[Row] | None = None) -> int:
        """Tokens of the longer one; `examples` are seed pairs before the prompt."""
        turns = [*as_turns(examples or []), *user(prompt)]
        return max(
            sampling_length(self._tokenizer, turns, self._max_tokens),
            self._judge.of_any_response(prompt, self._max_tokens),
        )

    def fitting(self, rows: list[Row], limit: int) -> list[Row]:
        """The rows of the `eval` table whose prompts fit; how many do not is printed."""
        kept = [row for row in rows if self.of(row["prompt"]) <= limit]
        if len(kept) < len(rows):
            print(
                f"left out {len(rows) - len(kept)} of {len(rows)} evaluation prompts: over {limit} tokens, "
                f"engine.max_model_len, with an answer of {self._max_tokens} or the judge's question on it"
            )
        return kept


def score_fitting(
    engine: Any,
    pairs: list[tuple[str, str]],
    *,
    max_unreadable: float = 1.0,
    examples: list[Row] | None = None,
    groups: list[str] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """`alma.judging.score_pairs` for pairs of any length: a row with score None for one that does not fit.

    Args:
        engine: of the judge. pairs: prompts and responses.
        max_unreadable: share of pairs that may end without a score, those that do not fit included.
        examples: rated rows for a few-shot judge.
        groups: names, one per pair; the pairs of one name have the same number of examples. Without
            it those of one prompt have.
        options: the other arguments of `score_pairs`.
    """
    given, limit = examples or [], engine.max_model_len
    known = [JudgeLengths(engine.tokenizer, given[:n]) for n in range(len(given) + 1)]
    names = [prompt for prompt, _ in pairs] if groups is None else groups
    shots: dict[str, int] = {}
    fits = []
    for name, pair in zip(names, pairs, strict=True):
        found = that_fit(given, lambda some, pair=pair: known[len(some)].of(*pair), limit)  # type: ignore[misc]
        fits.append(found is not None)
        if found is not None:
            shots[name] = min(shots.get(name, len(given)), len(found))
    left_out = fits.count(False)
    if left_out:
        print(
            f"{left_out} of {len(pairs)} responses have no score: over {limit} tokens (engine.max_model_len)"
        )
    if left_out > max_unreadable * len(pairs):
        raise InputError(
            f"{left_out} of {len(pairs)} responses have no score: with the judge's question they have more "
            f"tokens than engine.max_model_len = {limit}. Raise that, or lower sampling.max_tokens."
        )
    rows = [dict(NO_SCORE) for _ in pairs]
    for number in sorted(set(shots.values()), reverse=True):
        places = [i for i, name in enumerate(names) if fits[i] and shots[name] == number]
        if number < len(given):
            print(f"{len(places)} responses are rated after {number} of {len(given)} examples: they are long")
        scored = score_pairs(
            engine,
            [pairs[i] for i in places],
            examples=given[:number],
            max_unreadable=min(1.0, max_unreadable * len(pairs) / len(places)),
            **options,
        )
        for i, row in zip(places, scored, strict=True):
            rows[i] = row
    return rows
