"""How often a checkpoint's responses win against those of a reference, with and without the pull of length.

Length control is AlpacaEval's (Dubois et al., 2024, arXiv 2404.04475): a logistic model of P(win) on an
intercept and tanh(length difference / its standard deviation), read at a difference of 0. The term of an
instruction's difficulty is left out: it is for a fixed set of prompts with many models' results. Few prompts
can be separated by length, where the slope would grow without end, so it has a normal prior of scale 2.5
(Gelman et al., 2008, The Annals of Applied Statistics 2(4)). Intervals resample prompts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from alma.ids import hashed_int
from alma.outside_judges import FIRST, SCORE, SECOND
from alma.statistics import Interval

if TYPE_CHECKING:
    import numpy as np

Row = dict[str, Any]
_SLOPE = 2.5  # scale of the slope's prior
_STEPS = 40  # of Newton's method; a handful is enough where the data are not extreme
_CELLS = 2_000_000  # weights held at once (16 MB)


class Game(NamedTuple):
    """What a judge says of two responses to one prompt."""

    won: float  # 1 won, 0.5 drawn, 0 lost; the mean over both orders
    longer: int  # characters of the response minus those of the reference's
    agreed: bool | None  # whether both orders gave the same; None for a judge that sees no order


def games_of(rows: list[Row], reference: list[Row]) -> dict[str, Game]:
    """Games of a checkpoint by prompt_id, of the prompts on which the judge has said all that they need.

    Args:
        rows: of a `judged` table of the checkpoint.
        reference: of the same judge's table of the reference, for a judge that gives scores alone: the higher
            one wins. Empty for one that compares, whose games stand among the `rows`.
    """
    asked: dict[tuple[str, str], Row] = {(row["prompt_id"], row["question"]): row for row in rows}
    theirs = {row["prompt_id"]: row for row in reference if row["question"] == SCORE}
    found: dict[str, Game] = {}
    for prompt in sorted({row["prompt_id"] for row in rows}):
        first, second = asked.get((prompt, FIRST)), asked.get((prompt, SECOND))
        mine, other = asked.get((prompt, SCORE)), theirs.get(prompt)
        if first and second:
            if first["value"] is not None and second["value"] is not None:
                longer = first["length"] - first["reference_length"]
                won = (first["value"] + second["value"]) / 2
                found[prompt] = Game(won, longer, first["value"] == second["value"])
        elif mine and other and mine["value"] is not None and other["value"] is not None:
            won = 0.5 + 0.5 * ((mine["value"] > other["value"]) - (mine["value"] < other["value"]))
            found[prompt] = Game(won, mine["length"] - other["length"], None)
    return found


def _at_no_difference(weights: "np.ndarray", won: "np.ndarray", x: "np.ndarray") -> "np.ndarray":
    """P(win) at x = 0 of a logistic model for each row of weights, by Newton's method.

    Args:
        weights: float64 [fits, prompts]: how often each prompt counts. won, x: float64 [prompts].
    """
    import numpy as np

    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    precision = 1.0 / _SLOPE**2
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-(intercept[:, None] + slope[:, None] * x)))
        left, curve = weights * (won - p), weights * p * (1.0 - p)
        g0, g1 = left.sum(axis=1), left @ x - precision * slope
        h00, h01, h11 = curve.sum(axis=1) + 1e-9, curve @ x, curve @ (x * x) + precision
        determinant = h00 * h11 - h01 * h01
        # A response that always wins has an intercept without end: bounded steps, and a bound.
        intercept = np.clip(intercept + np.clip((h11 * g0 - h01 * g1) / determinant, -2, 2), -15, 15)
        slope = slope + np.clip((h00 * g1 - h01 * g0) / determinant, -2, 2)
    return 1.0 / (1.0 + np.exp(-intercept))


def length_controlled(games: Sequence[Game], resamples: int, seed: Any) -> tuple[float | None, Interval]:
    """Win rate at equal length, and its 95% interval (percentile bootstrap over prompts).

    Args:
        games: one per prompt.
        resamples: bootstrap resamples.
        seed: hashed into the seed of the generator; equal arguments give equal intervals.

    Returns:
        (rate, (low, high)); None for no games, and an interval of None for one game.
    """
    import numpy as np

    if not games:
        return None, (None, None)
    won = np.asarray([game.won for game in games], dtype=np.float64)
    longer = np.asarray([game.longer for game in games], dtype=np.float64)
    spread = longer.std()
    x = np.tanh(longer / spread) if spread > 0 else np.zeros_like(longer)
    count = len(games)
    rate = float(_at_no_difference(np.ones((1, count)), won, x)[0])
    if count < 2:
        return rate, (None, None)
    rng = np.random.default_rng(hashed_int("bootstrap", seed))
    at_once = max(1, _CELLS // count)
    parts = [
        _at_no_difference(
            rng.multinomial(count, np.full(count, 1 / count), size=min(at_once, resamples - start)).astype(
                float
            ),
            won,
            x,
        )
        for start in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(parts), (0.025, 0.975))
    return rate, (float(low), float(high))
