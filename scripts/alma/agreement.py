"""How far annotators agree: Krippendorff's alpha of ratings on an interval scale.

Written here and not taken from a library: with squared differences alpha is a ratio of sums over the rated
responses, so a bootstrap that draws whole prompts is one product of matrices. A library computes one alpha
at a time, and knows no prompts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.ids import hashed_int

if TYPE_CHECKING:
    import numpy as np


class Agreement(NamedTuple):
    """Agreement on responses that were rated at least twice.

    Args:
        alpha: 1 is full agreement, 0 what chance gives, below 0 worse; None where nothing is measured.
        low, high: its 95% interval; None for fewer than two prompts.
        responses: rated at least twice. labels: their ratings.
    """

    alpha: float | None
    low: float | None
    high: float | None
    responses: int
    labels: int


def _sums(units: Iterable[Sequence[float]]) -> "np.ndarray":
    """Per unit of at least two ratings: how many, their sum, their sum of squares, disagreement inside.

    Returns:
        float64 [units, 4]; the last is the sum over ordered pairs of the squared difference, divided by the
        number of ratings minus one.
    """
    import numpy as np

    rows = []
    for values in units:
        count = len(values)
        if count >= 2:
            total = math.fsum(values)
            squares = math.fsum(value * value for value in values)
            spread = math.fsum((value - total / count) ** 2 for value in values)
            rows.append((count, total, squares, 2 * count * spread / (count - 1)))
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def _alpha(sums: "np.ndarray") -> "np.ndarray":
    """Alpha of each row of [..., 4] sums; NaN where all ratings are equal, and chance would agree too."""
    import numpy as np

    count, total, squares, inside = np.moveaxis(sums, -1, 0)
    expected = 2 * (count * squares - total**2)
    # Equal ratings may leave a rest of rounding.
    real = expected > 1e-9 * np.maximum(count * squares, 1e-300)
    observed = inside * (count - 1)
    return np.where(real, 1 - observed / np.where(real, expected, 1.0), np.nan)


def krippendorff_alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Krippendorff's alpha of ratings on an interval scale.

    Args:
        units: the ratings of each response, any number by any annotators; those with fewer than two do not
            count.

    Returns:
        Alpha, at most 1; None where no response has two ratings, or all ratings are equal.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C and D, with the
    squared difference as metric.
    """
    value = float(_alpha(_sums(units).sum(axis=0)))
    return None if math.isnan(value) else value


def agreement(ratings: Mapping[tuple[str, str], Sequence[float]], resamples: int, seed: Any) -> Agreement:
    """Alpha with its 95% percentile bootstrap over prompts, whose responses are not independent.

    Args:
        ratings: {(prompt, response): its ratings}.
        resamples: bootstrap resamples; one in which all ratings are equal is left out.
        seed: hashed into the seed of the generator; equal arguments give equal intervals.
    """
    import numpy as np

    shared = {key: values for key, values in sorted(ratings.items()) if len(values) >= 2}
    by_prompt: dict[str, list[Sequence[float]]] = {}
    for (prompt, _), values in shared.items():
        by_prompt.setdefault(prompt, []).append(values)
    low = high = None
    if len(by_prompt) >= 2:
        sums = np.stack([_sums(units).sum(axis=0) for units in by_prompt.values()])
        # Centered: alpha does not depend on where the scale begins, and the sums stay exact.
        center = sums[:, 1].sum() / sums[:, 0].sum()
        sums[:, 2] += center * (center * sums[:, 0] - 2 * sums[:, 1])
        sums[:, 1] -= center * sums[:, 0]
        rng = np.random.default_rng(hashed_int("bootstrap", seed))
        n = len(sums)
        found = _alpha(rng.multinomial(n, [1 / n] * n, size=resamples) @ sums)
        found = found[~np.isnan(found)]
        if len(found):
            low, high = map(float, np.quantile(found, (0.025, 0.975)))
    labels = sum(map(len, shared.values()))
    return Agreement(krippendorff_alpha(shared.values()), low, high, len(shared), labels)
