"""Measure one round's candidates: scores, length, and the texts for reading.

Reads:
    rounds/{round}/prompts/{shard}.parquet: prompt_id, prompt.
    rounds/{round}/samples/{checkpoint}/{shard}-{block}.parquet: all responses of the round.
    rounds/{round}/scores/{checkpoint}/{shard}-{block}.parquet: their scores.
    rounds/{round}/selected/{shard}.parquet: what was chosen and rejected.
Writes (tables/rounds/{round}/; columns in `alma.csv_schemas`):
    scores.csv: quantiles of the scores, by checkpoint and of the chosen responses.
    length.csv: length of the chosen responses against those that selection could choose.
    candidates.csv: the texts, of the first prompts of the round.
Params:
    round_, checkpoints (sampled in the round, in order), samples_per_prompt; seed, resamples (bootstrap).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.selection import is_eligible
from alma.statistics import bootstrap_ratio, mean, spearman
from alma.words import words_of
from alma.workflow.sharding import even_range

# Candidates of a round that people can read; more make a page too large to open.
READABLE_CANDIDATES = 2000
QUANTILES = {"p05": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}

Row = dict[str, Any]


def prompt_groups(
    prompts: list[str], responses: list[str], scores: list[str], selected: list[str]
) -> Iterator[tuple[Row, list[Row], Row | None]]:
    """Each prompt of a round with its scored responses and its selected row (None without one).

    One shard is held in memory at a time: the files come shard by shard, as many of each shard.
    """
    from alma.tables import read_table, read_tables

    shards = len(prompts)
    for shard, path in enumerate(prompts):
        part = [responses[i] for i in even_range(shard, shards, len(responses))]
        by_id = {
            row["response_id"]: row["score"]
            for i in even_range(shard, shards, len(scores))
            for row in read_table(scores[i], "score")
        }
        groups: dict[str, list[Row]] = {}
        for row in read_tables(part, "response"):
            scored = row | {"score": by_id[row["response_id"]], "words": len(words_of(row["response"]))}
            groups.setdefault(row["prompt_id"], []).append(scored)
        chosen = {row["prompt_id"]: row for row in read_table(selected[shard], "selected")}
        for prompt in read_table(path, "round_prompt"):
            found = groups.get(prompt["prompt_id"], [])
            found.sort(key=lambda row: (row["sample"], row["response_id"]))
            yield prompt, found, chosen.get(prompt["prompt_id"])


def score_row(source: str, scores: list[float | None]) -> Row:
    """Quantiles of one source's scores (0-10); empty where none is readable."""
    import numpy as np

    readable = sorted(score for score in scores if score is not None)
    quantiles = {
        name: float(np.percentile(readable, q)) if readable else None for name, q in QUANTILES.items()
    }
    return {
        "source": source,
        "responses": len(scores),
        "unreadable": len(scores) - len(readable),
        "mean": mean(readable),
        **quantiles,
    }


def candidate_rows(prompt: Row, responses: list[Row], selected: Row | None) -> list[Row]:
    """The responses to one prompt as people read them: best score first, unreadable ones last."""
    verdict = {}
    if selected:
        verdict = {selected["rejected_id"]: "rejected", selected["chosen_id"]: "chosen"}
    ordered = sorted(responses, key=lambda r: (r["score"] is None, -(r["score"] or 0.0), r["sample"]))
    keys = ("response_id", "checkpoint", "sample", "score", "finish_reason", "tokens", "response")
    return [
        {
            "prompt_id": prompt["prompt_id"],
            "prompt": prompt["prompt"],
            "verdict": verdict.get(row["response_id"], ""),
            **{key: row[key] for key in keys},
        }
        for row in ordered
    ]


def ratio(top: float | None, bottom: float | None) -> float | None:
    """top / bottom, None where that says nothing."""
    return top / bottom if top is not None and bottom else None


class Measures:
    """Collects what the tables need, prompt by prompt; holds numbers and few texts."""

    def __init__(self, checkpoints: list[str], readable_prompts: int) -> None:
        self.readable_prompts = readable_prompts
        self.prompts = 0
        self.scores: dict[str, list[float | None]] = {name: [] for name in [*checkpoints, "chosen"]}
        self.chosen: dict[str, list[float]] = {"words": [], "tokens": []}
        self.pool: dict[str, list[float]] = {"words": [], "tokens": []}
        self.sampled: list[float] = []
        self.cut_off: list[float] = []
        self.correlations: list[float] = []
        self.candidates: list[Row] = []

    def add(self, prompt: Row, responses: list[Row], selected: Row | None) -> None:
        """Take in one prompt with its scored responses."""
        for row in responses:
            self.scores[row["checkpoint"]].append(row["score"])
            self.sampled.append(row["words"])
            self.cut_off.append(float(row["finish_reason"] == "length"))
        could_win = [row for row in responses if is_eligible(prompt["prompt"], row)]
        correlation = spearman([r["score"] for r in could_win], [r["words"] for r in could_win])
        if correlation is not None:
            self.correlations.append(correlation)
        if selected:
            chosen = next(r for r in responses if r["response_id"] == selected["chosen_id"])
            self.scores["chosen"].append(chosen["score"])
            for key in ("words", "tokens"):
                self.chosen[key].append(chosen[key])
                self.pool[key].append(mean([row[key] for row in could_win]) or 0.0)
        if self.prompts < self.readable_prompts:
            self.candidates += candidate_rows(prompt, responses, selected)
        self.prompts += 1

    def length_row(self, seed: Any, resamples: int) -> Row:
        """Length of the chosen responses against those they were chosen from.

        Args:
            seed, resamples: of the bootstrap over prompts.
        """
        means = {f"chosen_{key}": mean(values) for key, values in self.chosen.items()}
        means |= {f"pool_{key}": mean(values) for key, values in self.pool.items()}
        low, high = bootstrap_ratio(self.chosen["words"], self.pool["words"], resamples, seed)
        return {
            "prompts": len(self.chosen["words"]),
            **means,
            "ratio": ratio(means["chosen_words"], means["pool_words"]),
            "ratio_low": low,
            "ratio_high": high,
            "ratio_tokens": ratio(means["chosen_tokens"], means["pool_tokens"]),
            "sampled_words": mean(self.sampled),
            "cut_off": mean(self.cut_off),
            "rank_correlation": mean(self.correlations),
        }


def main(
    prompts: list[str],
    responses: list[str],
    scores: list[str],
    selected: list[str],
    score_table: str | Path,
    length: str | Path,
    candidates: str | Path,
    *,
    round_: int,
    checkpoints: list[str],
    samples_per_prompt: int,
    seed: int,
    resamples: int,
) -> None:
    """Write the three tables of a round."""
    found = Measures(checkpoints, max(1, READABLE_CANDIDATES // samples_per_prompt))
    for prompt, group, choice in prompt_groups(prompts, responses, scores, selected):
        found.add(prompt, group, choice)

    def write(path: str | Path, name: str, rows: list[Row]) -> None:
        write_csv_table(path, name, [{"round": round_} | row for row in rows])

    write(score_table, "scores", [score_row(*item) for item in found.scores.items()])
    row = found.length_row([seed, "length", round_], resamples)
    write(length, "length", [row])
    write(candidates, "candidates", found.candidates)
    print(f"round {round_}: {found.prompts} prompts, {len(found.sampled)} responses")
    print(f"chosen responses have {row['ratio']} times the words of the pool (1 = no taste for length)")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.prompts),
            list(snakemake.input.responses),
            list(snakemake.input.scores),
            list(snakemake.input.selected),
            snakemake.output.scores,
            snakemake.output.length,
            snakemake.output.candidates,
            **config,
        )
