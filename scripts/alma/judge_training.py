"""Scored responses as what a judge is trained on: conversations with a distribution over the ratings.

The judge's score of a response is the mean of its distribution over the eleven ratings, so it is trained
on distributions: those of the annotators, and its own. A response's loss is the expected cross-entropy,
sum over k of p_k * CE(rating k), at the place of the rating, and the plain one on the rest of the answer.
`RatingTerms` adds terms that look at the mean of the distribution, which is the score that selects.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from math import floor
from statistics import fmean
from typing import Any

from alma.chat_template import prompt_ids
from alma.errors import InputError
from alma.ids import hashed_int
from alma.judging import (
    PREFILL,
    expected_rating,
    first_tokens,
    integer_rating,
    judge_answer,
    judge_messages,
    rating_tokens,
)
from alma.tables import assistant


def certain(rating: int) -> list[float]:
    """The distribution over 0..10 that holds one rating alone."""
    return [float(k == rating) for k in range(11)]


def split_score(score: float) -> list[float]:
    """The distribution over 0..10 with mean `score` (0-10) on the two ratings around it, or on one."""
    low = min(floor(score), 9)
    return [1 - (score - low) if k == low else score - low if k == low + 1 else 0.0 for k in range(11)]


def human_ratings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per response of `judge` rows, in their order: prompt, response, ids and p.

    `p` (eleven floats) is the mean over the response's annotators, so its mean is their mean score.
    """
    by_response: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_response.setdefault(row["response_id"], []).append(row)
    keys = ("prompt_id", "response_id", "prompt", "response")
    return [
        {key: group[0][key] for key in keys}
        | {"p": [fmean(p) for p in zip(*(split_score(row["score"]) for row in group), strict=True)]}
        for group in by_response.values()
    ]


def balanced(rows: list[dict[str, Any]], balance: str, seed: list[Any]) -> list[dict[str, Any]]:
    """Rows of `human_ratings`, in their order, of which no prompt tells whether its responses are good.

    Args:
        rows: with prompt, response_id and p.
        balance: "within_prompt" keeps, of the responses to one prompt, equally many with a mean score above
            and below 5, chosen by seeded hash, and all at 5; "none" keeps all rows.
        seed: of the choice.

    Raises:
        InputError: no prompt has responses both above and below 5.
    """
    if balance == "none":
        return rows
    sides: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for row in rows:
        mean = expected_rating(row["p"])
        side = (mean > 5 + 1e-9) - (mean < 5 - 1e-9)
        key = hashed_int(*seed, "balance", row["response_id"]), row["response_id"]
        sides.setdefault((row["prompt"], side), []).append(key)
    kept: set[str] = set()
    pairs = 0
    for prompt in {prompt for prompt, _ in sides}:
        above, below = (sorted(sides.get((prompt, side), [])) for side in (1, -1))
        count = min(len(above), len(below))
        pairs += count
        kept.update(name for _, name in above[:count] + below[:count] + sides.get((prompt, 0), []))
    print(
        f"judge.balance: {len(kept)} of {len(rows)} responses with human scores, {pairs} above 5 and "
        f"as many below"
    )
    if not pairs:
        raise InputError(
            "judge.balance: found within_prompt, but no prompt of labels.judge has responses with scores "
            "both above and below 5; rate several responses per prompt, or use none"
        )
    return [row for row in rows if row["response_id"] in kept]


def distillation_targets(rows: list[dict[str, Any]], target: str, seed: list[Any]) -> list[dict[str, Any]]:
    """`distilled` rows with the `p` that the judge is trained on.

    Args:
        rows: with score (0-10) and p (the seed judge's own distribution).
        target: "distribution" keeps p; "sampled" draws one rating of p per response, by seeded hash, so
            that the mean over the responses stays; "integer" rounds the score, half up.
        seed: of the draws.
    """

    def aim(row: dict[str, Any]) -> list[float]:
        if target == "distribution":
            return row["p"]
        if target == "integer":
            return certain(floor(row["score"] + 0.5))
        drawn = hashed_int(*seed, "rating", row["response_id"]) / 2**63
        below = list(accumulate(row["p"]))  # up to 1, but for the rounding of p
        return certain(min(bisect_right(below, drawn * below[-1]), 10))

    return [row | {"p": aim(row)} for row in rows]


def judge_conversations(rows: list[dict[str, Any]], seed: list[Any]) -> list[dict[str, Any]]:
    """Rows of prompt, response and p as rows of `prompt` and `completion` messages.

    The completion holds the likeliest rating; where there are several, `ratings` holds all eleven
    probabilities. The responses to one prompt stand side by side, prompts and responses in a seeded
    order, and are trained on in this order: a step then holds good and bad responses to the same prompt,
    so that what differs in its gradient is their quality, and their shared beginning is computed once.
    `score` is the mean of p; `group` is a number of the prompt, or -1 for rows whose `ranked` is false.
    """

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        keys = row["prompt"], row["response"]
        return hashed_int(*seed, keys[0]), keys[0], hashed_int(*seed, *keys), keys[1], row["p"]

    numbers = {prompt: i for i, prompt in enumerate(sorted({row["prompt"] for row in rows}))}
    return [
        {
            "prompt": judge_messages(row["prompt"], row["response"]),
            "completion": assistant(judge_answer(integer_rating(row["p"]))),
            "score": expected_rating(row["p"]),
            "group": numbers[row["prompt"]] if row.get("ranked", True) else -1,
        }
        | ({} if max(row["p"]) == 1 else {"ratings": row["p"]})
        for row in sorted(rows, key=place)
    ]


def _rating_place(tokenizer: Any, row: dict[str, Any], ids: list[int]) -> int:
    """Index in the token ids of a conversation at which its rating begins.

    Raises:
        InputError: the answer does not begin as it does where the judge is asked for a rating.
    """
    start = prompt_ids(tokenizer, row["prompt"], PREFILL)
    if not any(ids[: len(start) + len(own)] == [*start, *own] for own in rating_tokens(tokenizer)):
        raise InputError(
            f"base_model.chat_template: {PREFILL!r} and a rating are other tokens in an answer than where "
            f"the judge is asked; use a template that writes an assistant's answer as it is"
        )
    return len(start)


def rating_targets(tokenizer: Any, row: dict[str, Any], ids: list[int]) -> list[dict[str, Any]]:
    """Soft targets in place of the rating, as `alma.training_data.sft_examples` takes them.

    The probability of a rating of two tokens is that of the first, times that of the second after it;
    so the expected cross-entropy over the ratings is one over first tokens, with the probabilities of all
    ratings that begin so, and one over second tokens after each first, with those of the whole ratings.

    Args:
        tokenizer: of the checkpoint.
        row: of `judge_conversations`.
        ids: token ids of the row's prompt and completion.

    Returns:
        `place` (index in `ids` of the rating's first token), `after` (first token of the rating, or -1
        where the target is the first), `token` and `weight`; none for a row without `ratings`.

    Raises:
        InputError: the answer does not begin as it does where the judge is asked for a rating.
    """
    if "ratings" not in row:
        return []
    start = _rating_place(tokenizer, row, ids)
    weights: dict[tuple[int, int], float] = {}
    for rating, p in zip(rating_tokens(tokenizer), row["ratings"], strict=True):
        for place in zip((-1, *rating), rating, strict=False):
            weights[place] = weights.get(place, 0.0) + p
    return [
        {"place": start, "after": after, "token": token, "weight": weight}
        for (after, token), weight in sorted(weights.items())
        if weight > 0
    ]


@dataclass(frozen=True)
class RatingTerms:
    """Terms of the judge's loss that take the expected rating of each response, its score.

    Attributes:
        ranking: weight of the mean, over pairs of responses to one prompt in a micro-batch whose human
            scores differ, of -log sigmoid(score of the better one - score of the other), in nats.
        squared_error: weight of the mean squared difference of score and target.
    """

    ranking: float = 0.0
    squared_error: float = 0.0

    def target(self, tokenizer: Any, row: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        """`rated` of `alma.training_data.sft_examples` for a row of `judge_conversations`."""
        return {"place": _rating_place(tokenizer, row, ids), "score": row["score"], "group": row["group"]}

    def openings(self, tokenizer: Any) -> list[int]:
        """First tokens of the ratings that are told by their second (`first_tokens`)."""
        return sorted({rating[0] for rating in first_tokens(rating_tokens(tokenizer)) if len(rating) == 2})

    def expected(self, logits: Any, tokenizer: Any) -> Any:
        """Expected rating of each response, normalized over the eleven (float32 [B], 0-10).

        Args:
            logits: [B, 1 + openings, vocabulary], at the places of `rated_columns`.
            tokenizer: of the checkpoint.
        """
        import torch

        log_p, openings = logits.float().log_softmax(-1), self.openings(tokenizer)
        ratings = [
            log_p[:, 0, first] + sum(log_p[:, 1 + openings.index(first), token] for token in rest)
            for first, *rest in first_tokens(rating_tokens(tokenizer))
        ]
        p = torch.stack(ratings, -1).softmax(-1)
        return p @ torch.arange(11, dtype=p.dtype, device=p.device)

    def loss(self, logits: Any, batch: dict[str, Any], tokenizer: Any) -> Any:
        """The weighted sum of the terms over a micro-batch (float32 scalar); see `expected`."""
        from torch.nn.functional import softplus

        expected = self.expected(logits, tokenizer)
        scores, groups = batch["rated_scores"], batch["rated_groups"]
        same = (groups[:, None] == groups) & (groups >= 0)
        better = same & (scores[:, None] > scores + 1e-4)
        loss = self.squared_error * (expected - scores).square().mean()
        if better.any():
            loss = loss + self.ranking * softplus(-(expected[:, None] - expected)[better]).mean()
        return loss


def rating_terms(weights: dict[str, float]) -> RatingTerms | None:
    """The terms of `judge.loss`; None where no weight is above 0, which leaves the cross-entropy alone."""
    return RatingTerms(**weights) if any(weights.values()) else None
