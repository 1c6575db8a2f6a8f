"""The judge: its prompt, its answer, and a real-valued score from its probabilities.

The judge is a causal language model that answers with a rating in double square brackets and no
chain of thought. Its score of a response is the expected rating, sum over k of k * P(k), where P is
taken over the eleven ratings 0..10 and normalized (recipe: real-valued scores). Rubric and prompt
stand before the response, so that the engine caches them across the responses to one prompt.
"""

import math
import random
from collections import Counter
from typing import Any

from alma.chat_template import prompt_ids
from alma.errors import InputError
from alma.ids import hashed_int

PREFILL = "Rating: [["
RUBRIC = (
    "Rate the response to the prompt: 0 unusable, 1 extremely poor, 2 very poor, 3 poor, "
    "4 below average, 5 average, 6 satisfactory, 7 good, 8 very good, 9 excellent, 10 outstanding."
)


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
    content = f"{RUBRIC}\n\nPrompt: {prompt}\n\nResponse: {response}"
    return [*turns, {"role": "user", "content": content}]


def judge_answer(score: float) -> str:
    """The judge's answer that stands for a score on 0-10: the nearest integer, half up, as two digits."""
    return f"{PREFILL}{math.floor(score + 0.5):02d}]]"


def rating_tokens(tokenizer: Any) -> list[tuple[int, ...]]:
    """Token ids of the ratings "00" .. "10" as they stand in an answer: one or two a rating.

    Two digits keep "1" from meaning both a very poor and an outstanding response, as it does where
    "1" and "10" begin alike: then the first token says whether the rating is 10.

    Raises:
        InputError: the tokenizer joins a rating to what stands around it; then the probabilities of
            the eleven ratings cannot be read one by one.
    """
    before = tokenizer(PREFILL, add_special_tokens=False)["input_ids"]
    after = tokenizer("]]", add_special_tokens=False)["input_ids"]
    found = []
    for rating in range(11):
        text = f"{rating:02d}"
        whole = tokenizer(f"{PREFILL}{text}]]", add_special_tokens=False)["input_ids"]
        tokens = whole[len(before) : len(whole) - len(after)]
        apart = [*before, *tokens, *after] == whole and tokenizer.decode(tokens) == text
        if not apart or len(tokens) not in (1, 2):
            raise InputError(
                f"base_model: its tokenizer writes a rating as {tokenizer.convert_ids_to_tokens(whole)}; "
                f"expected the rating as tokens of its own after {PREFILL!r}, to read the eleven ratings"
            )
        found.append(tuple(tokens))
    return found


def first_tokens(ratings: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Ratings of `rating_tokens` with the second token left out where the first tells the rating.

    Of 00 .. 10 digit by digit only 10 begins with "1". So its probability is taken to be that of the "1",
    as if "0" were certain to follow, and every response is read in one pass instead of two. A judge that
    is trained to answer with a rating hardly ever goes on otherwise; a few-shot judge does.
    """
    openings = Counter(rating[0] for rating in ratings)
    return [rating[:1] if openings[rating[0]] == 1 else rating for rating in ratings]


def rating_probabilities(log_p: list[float]) -> tuple[list[float], float]:
    """Distribution over the ratings 0..10, and the probability mass that they hold together.

    Args:
        log_p: natural log-probability of each of the eleven ratings.

    Returns:
        Eleven probabilities that add up to 1, and the mass before normalizing, in [0, 1].
    """
    p = [math.exp(value) for value in log_p]
    mass = math.fsum(p)
    return [value / mass for value in p] if mass > 0 else [0.0] * 11, min(mass, 1.0)


def expected_rating(p: list[float]) -> float:
    """Expected rating of a distribution over 0..10."""
    return math.fsum(k * value for k, value in enumerate(p))


def integer_rating(p: list[float]) -> int:
    """The most probable rating of a distribution over 0..10; the lowest of equals."""
    return max(range(len(p)), key=lambda k: (p[k], -k))


def score_pairs(
    engine: Any,
    pairs: list[tuple[str, str]],
    *,
    min_mass: float,
    max_unreadable: float = 1.0,
    examples: list[dict[str, Any]] | None = None,
    score: str = "expected",
    reading: str = "exact",
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
        reading: "exact", or "fast" (see `first_tokens`).
        what: name in the progress line.

    Returns:
        For each pair: score (float 0-10 or None), mass (float), p (eleven floats).

    Raises:
        InputError: too many pairs have no score; low mass is an error, never a score.
    """
    ratings = rating_tokens(engine.tokenizer)
    if reading == "fast":
        ratings = first_tokens(ratings)
    prompts = [
        prompt_ids(engine.tokenizer, judge_messages(prompt, response, examples), PREFILL)
        for prompt, response in pairs
    ]
    order = sorted(range(len(pairs)), key=lambda i: prompts[i])  # shared prefixes side by side
    found = engine.rating_logprobs([prompts[i] for i in order], ratings, what)
    rows: list[dict[str, Any]] = [{}] * len(pairs)
    read = {"expected": expected_rating, "integer": integer_rating}[score]
    for i, log_p in zip(order, found, strict=True):
        p, mass = rating_probabilities(log_p)
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
