"""Intervals, rank correlation, and what the best of n samples is worth.

Intervals are 95% percentile bootstraps over prompts (Efron and Tibshirani, 1993): prompts are what
varies from benchmark to benchmark, and the responses to one prompt are not independent. Bootstrap, score
interval and rank correlation are SciPy's; what its functions refuse or answer with NaN (one prompt, a
constant score) is decided here. Written here is what no library of the lock has: pair accuracy that
pools pairs over prompts and counts an unreadable score, calibration of a rating on 0-10
(scikit-learn's curve is for probabilities of two classes), and the expected best of n.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

from alma.ids import hashed_int

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Numbers = Union[Sequence[float], "np.ndarray", "pl.Series"]
Interval = tuple[float | None, float | None]
_CELLS = 2_000_000  # resampled indices held at once (16 MB)


def mean(values: Numbers) -> float | None:
    """Arithmetic mean, None for no values; the same for any order of them (`math.fsum`)."""
    return math.fsum(values) / len(values) if len(values) else None


def bootstrap_ratio(tops: Numbers, bottoms: Numbers, resamples: int, seed: Any) -> Interval:
    """95% interval of sum(tops) / sum(bottoms), resampling prompts (`scipy.stats.bootstrap`).

    Prompts with nothing to divide by are left out: a resample of such prompts alone would be NaN.

    Args:
        tops, bottoms: one number per prompt, float, the same length.
        resamples: bootstrap resamples.
        seed: hashed into the seed of the generator; equal arguments give equal intervals.

    Returns:
        (low, high), or (None, None) for fewer than two prompts, which give nothing to resample.
    """
    import numpy as np
    from scipy.stats import bootstrap

    top, bottom = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    if len(top) < 2:
        return None, None

    def ratio(top: "np.ndarray", bottom: "np.ndarray", axis: int) -> "np.ndarray":
        return top.sum(axis=axis) / bottom.sum(axis=axis)

    low, high = bootstrap(
        (top, bottom),
        ratio,
        paired=True,
        n_resamples=resamples,
        batch=max(1, _CELLS // len(top)),
        method="percentile",  # the default, BCa, is NaN where all prompts agree
        rng=np.random.default_rng(hashed_int("bootstrap", seed)),
    ).confidence_interval
    return float(low), float(high)


def bootstrap_mean(values: Sequence[float], resamples: int, seed: Any) -> Interval:
    """95% interval of the mean of `values` (one per prompt); see `bootstrap_ratio`."""
    return bootstrap_ratio(values, [1.0] * len(values), resamples, seed)


def bootstrap_replicates(values: Sequence[Sequence[float]], resamples: int, seed: Any) -> Interval:
    """95% interval of the mean over replicates and prompts, resampling both (percentiles).

    A resample draws replicates, and then prompts, the same for all of its replicates: these answer the same
    prompts, whose difficulty does not average out over seeds (crossed factors: the pigeonhole bootstrap of
    Owen, 2007, The Annals of Applied Statistics 1(2)). With few replicates it is too narrow in their part, as
    every bootstrap: the variance over n of them comes out (n - 1) / n of what it is.

    Args:
        values: [replicates][prompts], float; every replicate has the same prompts in the same order.
        resamples: bootstrap resamples.
        seed: hashed into the seed of the generator; equal arguments give equal intervals.

    Returns:
        (low, high), or (None, None) for fewer than two replicates or prompts.
    """
    import numpy as np

    table = np.asarray(values, dtype=np.float64)
    if table.ndim < 2 or min(table.shape) < 2:
        return None, None
    rng = np.random.default_rng(hashed_int("bootstrap", seed))
    replicates, prompts = (rng.multinomial(n, [1 / n] * n, size=resamples) / n for n in table.shape)
    means = ((replicates @ table) * prompts).sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def wilson(successes: int, trials: int) -> Interval:
    """95% score interval of a share (Wilson, 1927); (None, None) for no trials."""
    from scipy.stats import binomtest

    if trials == 0:
        return None, None
    low, high = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(low), float(high)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Rank correlation, ties with their mean rank (`scipy.stats.spearmanr`).

    0 where the prediction `x` is constant (it tells nothing); None where the label `y` is, or where
    there are fewer than two values. SciPy gives NaN for all three.
    """
    from scipy.stats import spearmanr

    if len(y) < 2 or max(y) == min(y):
        return None
    if max(x) == min(x):
        return 0.0
    return float(spearmanr(x, y).statistic)


def bootstrap_spearman(x: Sequence[float], y: Sequence[float], resamples: int, seed: Any) -> Interval:
    """95% interval of the rank correlation of `x` and `y` (one per prompt); see `bootstrap_ratio`.

    A resample in which either is constant counts as 0: it tells nothing. (None, None) where `spearman` is
    None.
    """
    import numpy as np
    from scipy.stats import bootstrap, rankdata

    if spearman(x, y) is None:
        return None, None

    def correlation(a: "np.ndarray", b: "np.ndarray", axis: int) -> "np.ndarray":
        a, b = rankdata(a, axis=axis), rankdata(b, axis=axis)
        a, b = a - a.mean(axis=axis, keepdims=True), b - b.mean(axis=axis, keepdims=True)
        spread = np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))
        return (a * b).sum(axis=axis) / np.where(spread > 0, spread, 1.0)

    low, high = bootstrap(
        (np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)),
        correlation,
        paired=True,
        n_resamples=resamples,
        batch=max(1, _CELLS // len(x)),
        method="percentile",
        rng=np.random.default_rng(hashed_int("bootstrap", seed)),
    ).confidence_interval
    return float(low), float(high)


def pair_results(
    scores: Sequence[float | None], labels: Sequence[float], tolerance: float = 1e-9
) -> tuple[float, int]:
    """How many pairs of one prompt's responses the scores put in the order of the labels.

    Only pairs with different labels count. Scores within `tolerance` tie, and a tie counts half; so
    does a pair with a score that could not be read (None).

    Returns:
        (right, pairs).
    """
    right, pairs = 0.0, 0
    for i in range(len(labels)):
        for j in range(i):
            if labels[i] == labels[j]:
                continue
            pairs += 1
            a, b = scores[i], scores[j]
            if a is None or b is None or abs(a - b) <= tolerance:
                right += 0.5
            else:
                right += (a > b) == (labels[i] > labels[j])
    return right, pairs


def calibration_bins(scores: Sequence[float], labels: Sequence[float], bins: int = 5) -> list[dict[str, Any]]:
    """Mean score and mean label of the rows in `bins` equal parts of the scale 0-10, by score.

    Returns:
        One row per bin: bin_low, bin_high, rows, mean_score, mean_label (None where the bin is empty).
    """
    members: list[list[int]] = [[] for _ in range(bins)]
    for i, score in enumerate(scores):
        members[min(int(score / 10 * bins), bins - 1)].append(i)
    return [
        {
            "bin_low": 10 * b / bins,
            "bin_high": 10 * (b + 1) / bins,
            "rows": len(inside),
            "mean_score": mean([scores[i] for i in inside]),
            "mean_label": mean([labels[i] for i in inside]),
        }
        for b, inside in enumerate(members)
    ]


def calibration_error(bins: list[dict[str, Any]]) -> float | None:
    """Mean absolute gap between mean score and mean label, bins weighted by their rows (0-10)."""
    rows = sum(row["rows"] for row in bins)
    gaps = (row["rows"] * abs(row["mean_score"] - row["mean_label"]) for row in bins if row["rows"])
    return math.fsum(gaps) / rows if rows else None


def best_of_weights(candidates: int) -> "np.ndarray":
    """Weight of each order statistic in the expected best of n, for n = 1..N.

    The best of n drawn without replacement from N is the i-th smallest with probability
    C(i-1, n-1) / C(N, n). In logarithms: `scipy.special.comb` is infinite from C(1030, 515) on.

    Returns:
        float64 [N, N]: row n-1 holds the weights of the sorted scores (smallest first).
    """
    import numpy as np
    from scipy.special import gammaln

    n = np.arange(1, candidates + 1)[:, None]
    i = np.arange(1, candidates + 1)[None, :]

    def log_choose(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
        return gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1)

    inside = i >= n
    lower = np.where(inside, i - 1, n - 1)  # any legal value where the weight is 0
    logs = log_choose(lower, n - 1) - log_choose(np.full_like(n, candidates), n)
    return np.where(inside, np.exp(logs), 0.0)
