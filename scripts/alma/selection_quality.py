"""What a judge's choice among sampled responses is worth, measured by a truth that is not the judge's.

A judge may put responses in order that people wrote with care and be at chance on what a model samples, and
a best-of-n curve that it grades itself rises by construction. So the choices of n responses are compared by
their truth (checks passed, or human scores): a random choice, the judge's, the shortest, the longest, and the
best, which is the most that any judge can reach. Who may be chosen is `alma.selection.is_eligible`'s to say.

A choice of n out of N sampled responses is an average over all draws of n, in closed form: order statistics
(`alma.statistics.best_of_weights`), with responses that can never be chosen ranked below all others, and
given that the draw holds one that can. Ties are split evenly. So no figure depends on one random draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import stdev
from typing import TYPE_CHECKING, Any

from alma.statistics import (
    best_of_weights,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_spearman,
    mean,
    pair_results,
    spearman,
)

if TYPE_CHECKING:
    import numpy as np

CHOICES = ("random", "judge", "shortest", "longest", "best")
ALL_KINDS = "all"


@dataclass(frozen=True)
class Pool:
    """The responses to one prompt that may be chosen, one value per response, and how many were sampled.

    Args:
        kind: what the prompt asks for, as its checks say; "" where there are none.
        sampled: N, those that can never be chosen included.
        scores: the judge's, 0-10.
        truth: what the choice is graded by: share of checks passed (0-1) or human score (0-10).
        words: length.
    """

    kind: str
    sampled: int
    scores: Sequence[float]
    truth: Sequence[float]
    words: Sequence[float]


def draw_sizes(most: int) -> list[int]:
    """1, 2, 4, .. and `most` itself."""
    return sorted({2**k for k in range(most.bit_length()) if 2**k <= most} | {most})


@cache
def _weights(sampled: int) -> "np.ndarray":
    return best_of_weights(sampled)


def tied_means(keys: Sequence[float], truth: Sequence[float], tolerance: float = 0.0) -> list[float]:
    """Truth in the order of the keys, smallest key first, each the mean over the responses that tie with it.

    From the top, as selection does: keys within `tolerance` of the highest that is left tie.
    """
    order = sorted(range(len(keys)), key=lambda i: -keys[i])
    found: list[float] = []
    while (start := len(found)) < len(order):
        end = start
        while end < len(order) and keys[order[end]] >= keys[order[start]] - tolerance:
            end += 1
        found += [sum(truth[i] for i in order[start:end]) / (end - start)] * (end - start)
    return found[::-1]


def choice_values(pool: Pool, sizes: Sequence[int], tolerance: float = 0.0) -> dict[int, dict[str, float]]:
    """Expected truth of each of `CHOICES` among n of the sampled responses, drawn without replacement.

    Args:
        pool: at least one response. sizes: the n; where more than were sampled, all of them are drawn.
        tolerance: judge scores this close tie.

    Returns:
        {n: {choice: truth}}.
    """
    truth = pool.truth
    random = sum(truth) / len(truth)
    ranked = {
        "judge": tied_means(pool.scores, truth, tolerance),
        "shortest": tied_means([-words for words in pool.words], truth),
        "longest": tied_means(pool.words, truth),
        "best": sorted(truth),
    }
    found = {}
    for n in sizes:
        found[n] = dict.fromkeys(CHOICES, random)
        if n == 1 or max(truth) == min(truth):
            continue  # exactly equal: a difference of 1e-18 would have a sign
        weights = _weights(pool.sampled)[min(n, pool.sampled) - 1][pool.sampled - len(truth) :]
        for choice, values in ranked.items():
            found[n][choice] = float(weights @ values / weights.sum())
    return found


def better_length(values: list[dict[str, float]]) -> str:
    """Which choice by length alone has the higher mean truth, "shortest" (also of equals) or "longest".

    A judge that does no better than it may have learned nothing but length.
    """
    return max(("shortest", "longest"), key=lambda choice: sum(value[choice] for value in values))


class _Table:
    """Collects the rows of one truth and one kind; every interval resamples prompts with the same seed."""

    def __init__(self, kind: str, resamples: int, seed: Any) -> None:
        self.kind, self.resamples, self.seed = kind, resamples, seed
        self.rows: list[dict[str, Any]] = []

    def add(self, measure: str, value: float | None, interval: Any, prompts: int, **more: Any) -> None:
        figures = {"value": value, "low": interval[0], "high": interval[1], "prompts": prompts}
        empty = {"n": None, "choice": "", "pairs": None}
        self.rows.append({"measure": measure, "kind": self.kind} | empty | figures | more)

    def add_mean(self, measure: str, values: list[float], **more: Any) -> None:
        interval = bootstrap_mean(values, self.resamples, self.seed)
        self.add(measure, mean(values), interval, len(values), **more)

    def add_ratio(self, measure: str, tops: list[float], bottoms: list[float], **more: Any) -> None:
        kept = [(top, bottom) for top, bottom in zip(tops, bottoms, strict=True) if bottom > 0]
        total = sum(bottom for _, bottom in kept)
        value = sum(top for top, _ in kept) / total if total else None
        interval = bootstrap_ratio(tops, bottoms, self.resamples, self.seed)
        self.add(measure, value, interval, len(kept), **more)


def measures_of(
    pools: list[Pool], kind: str, sizes: Sequence[int], *, tolerance: float, resamples: int, seed: Any
) -> list[dict[str, Any]]:
    """The figures of one truth on prompts of one kind, with 95% intervals over prompts.

    Args:
        pools: one per prompt, none without a response that may be chosen.
        kind: for the column of that name. sizes: the n of the choices.
        tolerance: judge scores this close tie. resamples, seed: of the bootstrap.

    Returns:
        Rows with measure, kind, n, choice, value, low, high, prompts, pairs (`alma.csv_schemas`). Without
        pools every measure has one row, without a value.
    """
    table = _Table(kind, resamples, seed)
    pairs = [pair_results(pool.scores, pool.truth, tolerance) for pool in pools]
    table.add_ratio(
        "pair_accuracy",
        [right for right, _ in pairs],
        [float(count) for _, count in pairs],
        pairs=sum(count for _, count in pairs),
    )
    curves = [choice_values(pool, sizes, tolerance) for pool in pools]
    found: dict[int | None, list[dict[str, float]]] = {None: []}
    if pools:
        found = {n: [curve[n] for curve in curves] for n in sizes}
    for n, values in found.items():
        for choice in CHOICES:
            table.add_mean("quality", [value[choice] for value in values], n=n, choice=choice)
        table.add_mean("judge_minus_random", [value["judge"] - value["random"] for value in values], n=n)
        length = better_length(values)
        differences = [value["judge"] - value[length] for value in values]
        table.add_mean("judge_minus_length", differences, n=n, choice=length)
    n, values = max(found.items(), key=lambda item: item[0] or 0)
    table.add_ratio(
        "headroom_taken",
        [value["judge"] - value["random"] for value in values],
        [value["best"] - value["random"] for value in values],
        n=n,
    )
    within = [spearman(pool.scores, pool.truth) for pool in pools]
    table.add_mean("correlation_within", [value for value in within if value is not None])
    means = [sum(p.scores) / len(p.scores) for p in pools], [sum(p.truth) / len(p.truth) for p in pools]
    between = bootstrap_spearman(*means, resamples, seed)
    table.add("correlation_between", spearman(*means), between, len(pools))
    table.add_mean("score_spread", [stdev(pool.scores) for pool in pools if len(pool.scores) > 1])
    return table.rows


def selection_rows(pools: list[Pool], *, tolerance: float, resamples: int, seed: Any) -> list[dict[str, Any]]:
    """`measures_of` for all prompts with n = 1, 2, 4, .. N, then for each kind with n = N."""
    sizes = draw_sizes(max((pool.sampled for pool in pools), default=1))
    options: dict[str, Any] = {"tolerance": tolerance, "resamples": resamples, "seed": seed}
    rows = measures_of(pools, ALL_KINDS, sizes, **options)
    for kind in sorted({pool.kind for pool in pools} - {""}):
        own = [pool for pool in pools if pool.kind == kind]
        rows += measures_of(own, kind, sizes[-1:], **options)
    return rows
