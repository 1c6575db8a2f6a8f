"""What judges that training never used say of a checkpoint on a benchmark: scores, win rates, differences."""

from typing import Any

from alma.outside_judges import SCORE
from alma.statistics import bootstrap_mean, mean
from alma.win_rates import games_of, length_controlled

Row = dict[str, Any]
Values = dict[str, float]  # a measure by prompt_id

_WITH_INTERVAL = ("win_rate", "win_rate_lc", "vs_sft_win", "vs_before_win")
NO_GAMES: Row = {
    "reference": "",
    "games": None,
    "same_in_both_orders": None,
    **{f"{name}{end}": None for name in _WITH_INTERVAL for end in ("", "_low", "_high")},
}


def mean_values(checkpoints: list[Values]) -> Values:
    """Mean of a measure over several checkpoints, of the prompts that all of them have."""
    prompts = set.intersection(*map(set, checkpoints)) if checkpoints else set()
    return {p: sum(values[p] for values in checkpoints) / len(checkpoints) for p in sorted(prompts)}


def difference(name: str, mine: Values, others: list[Values], seed: Any, resamples: int) -> Row:
    """Mean of a checkpoint's measure minus that of others, paired by prompt, in `name`, `name`_low and _high.

    Args:
        others: of each other checkpoint; with none, all values are None.
        seed: of the bootstrap over prompts.
    """
    theirs = mean_values(others)
    gaps = [value - theirs[prompt] for prompt, value in sorted(mine.items()) if prompt in theirs]
    low, high = bootstrap_mean(gaps, resamples, seed)
    return {name: mean(gaps), f"{name}_low": low, f"{name}_high": high}


class Judged:
    """All that one judge says of one benchmark.

    Args:
        tables: rows of its `judged` tables, by checkpoint (`reference` for a file of outputs).
        reference: the checkpoint that the others are compared with.
        seed, resamples: of the bootstrap; the resampled prompts are the same for every checkpoint.
    """

    def __init__(self, tables: dict[str, list[Row]], reference: str, seed: Any, resamples: int) -> None:
        self.tables, self.reference, self.seed, self.resamples = tables, reference, seed, resamples
        theirs = tables.get(reference, [])
        self.games = {name: games_of(rows, theirs) for name, rows in tables.items() if name != reference}
        self.scores: dict[str, Values] = {
            name: {
                r["prompt_id"]: r["value"] for r in rows if r["question"] == SCORE and r["value"] is not None
            }
            for name, rows in tables.items()
        }
        self.wins: dict[str, Values] = {
            name: {prompt: game.won for prompt, game in games.items()} for name, games in self.games.items()
        }
        # Against itself the reference draws every game.
        self.wins[reference] = {prompt: 0.5 for wins in list(self.wins.values()) for prompt in wins}

    def _gaps(
        self, name: str, values: dict[str, Values], checkpoint: str, others: list[str], what: str
    ) -> Row:
        known = [values[other] for other in others if values.get(other)]
        if not known or len(known) < len(others):
            known = []
        return difference(name, values.get(checkpoint, {}), known, [self.seed, what], self.resamples)

    def row(self, checkpoint: str, sft: list[str], before: str | None) -> Row | None:
        """The judge's columns of evaluation/summary.csv; None where it did not look at the checkpoint.

        Args:
            sft: the SFT checkpoints to compare with; none for one of these. before: the round before.
        """
        rows = self.tables.get(checkpoint)
        if not rows:
            return None
        scores, games = sorted(self.scores[checkpoint].items()), self.games.get(checkpoint, {})
        values = [value for _, value in scores]
        low, high = bootstrap_mean(values, self.resamples, [self.seed, "judge"])
        unread = {row["prompt_id"] for row in rows if row["value"] is None}
        before_it = [before] if before else []
        found: Row = {
            "judge_score": mean(values),
            "judge_low": low,
            "judge_high": high,
            "judge_prompts": len({row["prompt_id"] for row in rows}),
            "judge_unreadable": len(unread),
            **self._gaps("vs_sft_judge", self.scores, checkpoint, sft, "judge"),
            **self._gaps("vs_before_judge", self.scores, checkpoint, before_it, "judge"),
            **NO_GAMES,
        }
        if games:
            won = [game.won for _, game in sorted(games.items())]
            low, high = bootstrap_mean(won, self.resamples, [self.seed, "win"])
            ordered = [game for _, game in sorted(games.items())]
            rate, (lc_low, lc_high) = length_controlled(ordered, self.resamples, [self.seed, "win"])
            agreed = [float(game.agreed) for game in ordered if game.agreed is not None]
            found |= {
                "reference": self.reference,
                "games": len(games),
                "same_in_both_orders": mean(agreed),
                **{"win_rate": mean(won), "win_rate_low": low, "win_rate_high": high},
                **{"win_rate_lc": rate, "win_rate_lc_low": lc_low, "win_rate_lc_high": lc_high},
                **self._gaps("vs_sft_win", self.wins, checkpoint, sft, "win"),
                **self._gaps("vs_before_win", self.wins, checkpoint, before_it, "win"),
            }
        return found
