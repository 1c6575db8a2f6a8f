"""The judge: its prompt, its answer, and a real-valued score from its probabilities.

The judge is a causal language model that answers with a rating in double square brackets and no
chain of thought. Its score of a response is the expected rating, sum over k of k * P(k), where P is
taken over the eleven ratings 0..10 and normalised (recipe: real-valued scores). Rubric and prompt
stand before the response, so that the engine caches them across the responses to one prompt.
"""

import math
import random
from typing import Any

from alma.chat import prompt_ids
from alma.errors import InputError
from alma.ids import hashed_int
from alma.measures import integer_rating

PREFILL = "Rating: [["
RUBRIC = (
    "Rate the response to the prompt: 0 unusable, 1 extremely poor, 2 very poor, 3 poor, "
    "4 below average, 5 average, 6 satisfactory, 7 good, 8 very good, 9 excellent, 10 outstanding."
)

# Asked again after the response: there a small model's last hidden state tells far more of its quality.
QUESTION = "How good is this response to the prompt, from 0 to 10?"


def judge_messages(
    prompt: str, response: str, examples: list[dict[str, Any]] | None = None
) -> list[dict[str, str]]:
    """Conversation that asks for a rating of `response`.

    Args:
        prompt: what was asked.
        response: the answer to rate.
        examples: rated rows (prompt, response, score) for the few-shot judge, as earlier turns.
    """
    turns = []
    for row in examples or []:
        turns += judge_messages(row["prompt"], row["response"])
        turns.append({"role": "assistant", "content": judge_answer(row["score"])})
    content = f"{RUBRIC}\n\nPrompt: {prompt}\n\nResponse: {response}\n\n{QUESTION}"
    return [*turns, {"role": "user", "content": content}]


def judge_answer(score: float) -> str:
    """The judge's answer that stands for a score on 0-10: the nearest integer, half up."""
    return f"{PREFILL}{math.floor(score + 0.5)}]]"


def rating_tokens(tokenizer: Any) -> list[int]:
    """Tokens that decide a rating where it begins: "0".."9", and "10" where that is one token.

    Returns:
        Ten ids where the tokenizer writes "10" digit by digit, eleven where it is a token of its own.

    Raises:
        InputError: the tokenizer joins a rating to what stands around it; then the probabilities of
            the eleven ratings cannot be read this way.
    """
    before = tokenizer(PREFILL, add_special_tokens=False)["input_ids"]
    ids = []
    for rating in range(11):
        whole = tokenizer(f"{PREFILL}{rating}]]", add_special_tokens=False)["input_ids"]
        first, rest = whole[len(before) : len(before) + 1], whole[len(before) + 1 :]
        found = tokenizer.decode(first)
        digit_by_digit = rating == 10 and found == "1" and tokenizer.decode(rest[:1]) == "0"
        if whole[: len(before)] != before or not (found == str(rating) or digit_by_digit):
            raise InputError(
                f"base_model: its tokenizer writes a rating as {tokenizer.convert_ids_to_tokens(whole)}; "
                f"expected the rating as tokens of its own after {PREFILL!r}, to read the eleven ratings"
            )
        if not digit_by_digit:
            ids.append(first[0])
    return ids


def rating_probabilities(
    first: list[float], after_one: list[float] | None = None
) -> tuple[list[float], float]:
    """Distribution over the ratings 0..10, and the probability mass that they hold together.

    Where "10" is two tokens, P("1") holds the mass of both "1" and "10"; the second step tells them
    apart: P(10) = P("1") P("0" | "1") and P(1) = P("1") (1 - P("0" | "1")).

    Args:
        first: natural log-probabilities of `rating_tokens` where the rating begins.
        after_one: those of "0".."9" after a "1"; None where "10" is one token.

    Returns:
        Eleven probabilities that add up to 1, and the mass before normalising, in [0, 1].
    """
    p = [math.exp(value) for value in first]
    if after_one is not None:
        zero_after_one = math.exp(after_one[0])
        p.append(p[1] * zero_after_one)
        p[1] *= 1.0 - zero_after_one
    mass = math.fsum(p)
    return [value / mass for value in p] if mass > 0 else [0.0] * 11, min(mass, 1.0)


def expected_rating(p: list[float]) -> float:
    """Expected rating of a distribution over 0..10."""
    return math.fsum(k * value for k, value in enumerate(p))


def score_pairs(
    engine: Any,
    pairs: list[tuple[str, str]],
    *,
    min_mass: float,
    max_unreadable: float = 1.0,
    examples: list[dict[str, Any]] | None = None,
    score: str = "expected",
    what: str = "scoring",
) -> list[dict[str, Any]]:
    """Score (prompt, response) pairs with the engine's judge.

    Args:
        engine: `alma.engine.Engine` of the judge.
        pairs: texts, in any order; equal prompts next to each other are cheapest.
        min_mass: less probability on the eleven ratings than this means no score.
        max_unreadable: share of pairs that may end without a score.
        examples: rated rows for the few-shot judge.
        score: "expected" (real-valued) or "integer" (the likeliest rating).
        what: name in the progress line.

    Returns:
        For each pair: score (float 0-10 or None), mass (float), p (eleven floats).

    Raises:
        InputError: too many pairs have no score; low mass is an error, never a score.
    """
    ratings = rating_tokens(engine.tokenizer)
    prompts = [
        prompt_ids(engine.tokenizer, judge_messages(prompt, response, examples), PREFILL)
        for prompt, response in pairs
    ]
    order = sorted(range(len(pairs)), key=lambda i: prompts[i])  # shared prefixes side by side
    steps = engine.rating_logprobs([prompts[i] for i in order], ratings, what)
    rows: list[dict[str, Any]] = [{}] * len(pairs)
    read = {"expected": expected_rating, "integer": integer_rating}[score]
    for i, step in zip(order, steps, strict=True):
        p, mass = rating_probabilities(*step)
        rows[i] = {"score": float(read(p)) if mass >= min_mass else None, "mass": mass, "p": p}
    unreadable = sum(row["score"] is None for row in rows)
    masses = [row["mass"] for row in rows]
    if masses:
        low, mean = min(masses), math.fsum(masses) / len(masses)
        print(
            f"{what}: mass on the ratings: mean {mean:.4f}, lowest {low:.4f}; without a score: {unreadable}"
        )
    if unreadable > max_unreadable * len(pairs):
        raise InputError(
            f"{unreadable} of {len(pairs)} responses have no readable score: the judge put less than "
            f"judge.min_mass ({min_mass}) of its probability on the ratings 0-10. It has not learned to "
            f"answer with a rating; train it longer (judge.training) or look at its template."
        )
    return rows


def few_shot_examples(rows: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """Rated rows for the few-shot judge: seeded, of different prompts, spread over the scale."""
    if not count:
        return []
    ordered = sorted(rows, key=lambda row: (row["score"], hashed_int(seed, "few-shot", row["response_id"])))
    chosen: list[dict[str, Any]] = []
    for part in range(count):
        run = ordered[part * len(ordered) // count : (part + 1) * len(ordered) // count]
        taken = {row["prompt_id"] for row in chosen}
        free = [row for row in run if row["prompt_id"] not in taken] or run
        if free:
            chosen.append(min(free, key=lambda row: hashed_int(seed, "few-shot", row["response_id"])))
    random.Random(hashed_int(seed, "few-shot order")).shuffle(chosen)
    return chosen
