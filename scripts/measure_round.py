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

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alma.csv_tables import write_csv_table
from alma.selection import candidate_keys, scored_responses
from alma.statistics import bootstrap_ratio, mean
from alma.tables import collect, scan_table, scan_tables
from alma.words import words_of
from alma.workflow.sharding import even_range

if TYPE_CHECKING:
    import polars as pl

# Candidates of a round that people can read; more make a page too large to open.
READABLE_CANDIDATES = 2000
QUANTILES = {"p05": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}

Row = dict[str, Any]


def without_texts(rows: "pl.DataFrame") -> "pl.DataFrame":
    """What is counted of scored responses: their words, and whether each could have been chosen."""
    import polars as pl

    words = [len(words_of(text)) for text in rows["response"]]
    columns = ("place", "response_id", "checkpoint", "sample", "score", "finish_reason", "tokens")
    return rows.select(
        *columns,
        pl.Series("words", words, dtype=pl.Int32),
        could_win=candidate_keys(rows).is_not_null(),
    )


def rank_correlations(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Rank correlation of score and words over the responses to each prompt, ties with their mean rank.

    As `alma.statistics.spearman` has it: 0 where the score is constant; no row for a prompt whose words are,
    or that has fewer than two responses. Ranks are halves of whole numbers, so their sums are exact in
    float64 and follow from no order.

    Args:
        rows: place (of the prompt), score and words.

    Returns:
        place (int), correlation (float64), by place.
    """
    import polars as pl

    def spread(a: str, b: str) -> "pl.Expr":
        """Covariance of two columns, times the square of their length."""
        return pl.len() * (pl.col(a) * pl.col(b)).sum() - pl.col(a).sum() * pl.col(b).sum()

    ranks = rows.select("place", pl.col("score", "words").rank("average").over("place"))
    both = spread("score", "score").sqrt() * spread("words", "words").sqrt()
    found = ranks.group_by("place").agg(
        correlation=pl.when(both > 0).then(spread("score", "words") / both).otherwise(0.0),
        varies=spread("words", "words") > 0,
    )
    return found.filter("varies").select("place", "correlation").sort("place")


def length_rows(rows: "pl.DataFrame", selected: "pl.DataFrame") -> "pl.DataFrame":
    """Length of each chosen response and of those that it was chosen from, by place of the prompt.

    Args:
        rows: of `without_texts`. selected: chosen_id.

    Returns:
        place, score, words and tokens of the chosen one; pool_words, pool_tokens (means, float64).

    Raises:
        KeyError: a chosen response is not among the rows (an error in the program).
    """
    import polars as pl

    lengths = pl.col("words", "tokens")
    # A sum of whole numbers is exact in any order; a mean of polars is not said to be.
    pool = rows.filter("could_win").group_by("place").agg((lengths.sum() / pl.len()).name.prefix("pool_"))
    chosen = rows.join(selected.select(response_id="chosen_id"), on="response_id", how="semi")
    if len(chosen) != len(selected):
        raise KeyError(f"{len(selected)} chosen responses, of which {len(chosen)} are in the samples")
    return chosen.select("place", "score", lengths).join(pool, on="place").sort("place")


def score_row(source: str, scores: "pl.Series") -> Row:
    """Quantiles of a source's scores (0-10, float64); empty where none is readable."""
    import numpy as np

    readable = scores.drop_nulls().to_numpy()
    quantiles = {
        name: float(np.percentile(readable, q)) if len(readable) else None for name, q in QUANTILES.items()
    }
    return {
        "source": source,
        "responses": len(scores),
        "unreadable": len(scores) - len(readable),
        "mean": mean(readable),
        **quantiles,
    }


def candidate_rows(prompts: "pl.DataFrame", rows: "pl.DataFrame", selected: "pl.DataFrame") -> list[Row]:
    """The responses to some prompts as people read them: best score first, unreadable ones last.

    Args:
        prompts: place, prompt_id, prompt. rows: place and the columns of a scored response, `response` among
            them. selected: chosen_id, rejected_id.
    """
    import polars as pl

    texts = rows.join(prompts, on="place").sort(
        *("place", "score", "sample", "response_id"), descending=[False, True, False, False], nulls_last=True
    )
    verdict = (
        pl.when(pl.col("response_id").is_in(selected["chosen_id"].to_list()))
        .then(pl.lit("chosen"))
        .when(pl.col("response_id").is_in(selected["rejected_id"].to_list()))
        .then(pl.lit("rejected"))
        .otherwise(pl.lit(""))
    )
    columns = ("prompt_id", "prompt", "response_id", "checkpoint", "sample", "score")
    return texts.select(*columns, "finish_reason", "tokens", "response", verdict=verdict).to_dicts()


def ratio(top: float | None, bottom: float | None) -> float | None:
    """top / bottom, None where that says nothing."""
    return top / bottom if top is not None and bottom else None


def length_row(
    chosen: "pl.DataFrame", sampled: "pl.DataFrame", correlations: "pl.Series", seed: Any, resamples: int
) -> Row:
    """Length of the chosen responses of a round against those they were chosen from.

    Args:
        chosen: of `length_rows`, of all prompts. sampled: words and finish_reason of all responses.
        correlations: of score and words, per prompt.
        seed, resamples: of the bootstrap over prompts.
    """
    means = {f"chosen_{key}": mean(chosen[key]) for key in ("words", "tokens")}
    means |= {key: mean(chosen[key]) for key in ("pool_words", "pool_tokens")}
    low, high = bootstrap_ratio(chosen["words"], chosen["pool_words"], resamples, seed)
    return {
        "prompts": len(chosen),
        **means,
        "ratio": ratio(means["chosen_words"], means["pool_words"]),
        "ratio_low": low,
        "ratio_high": high,
        "ratio_tokens": ratio(means["chosen_tokens"], means["pool_tokens"]),
        "sampled_words": mean(sampled["words"]),
        "cut_off": mean(sampled["finish_reason"] == "length"),
        "rank_correlation": mean(correlations),
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
    """Write the three tables of a round.

    The files come shard by shard, as many of each shard. Numbers of all responses are held, and texts of
    one file.
    """
    import polars as pl

    readable = max(1, READABLE_CANDIDATES // samples_per_prompt)
    shards, asked = len(prompts), 0
    everything, chosen, correlations, shown = [], [], [], []
    for shard, path in enumerate(prompts):
        texts = [responses[i] for i in even_range(shard, shards, len(responses))]
        judged = [scores[i] for i in even_range(shard, shards, len(scores))]
        known = collect(
            scan_table(path, "round_prompt").select("prompt_id", "prompt").with_row_index("place")
        )
        choices = collect(scan_table(selected[shard], "selected").select("chosen_id", "rejected_id"))
        rows = pl.concat([without_texts(part) for part in scored_responses(known, texts, judged)])
        everything.append(rows.select("checkpoint", "score", "words", "finish_reason"))
        chosen.append(length_rows(rows, choices))
        correlations.append(rank_correlations(rows.filter("could_win")))
        first = known.head(max(0, readable - asked))
        if len(first):
            few = rows.join(first, on="place", how="semi").drop("words", "could_win")
            names = few.select("response_id").lazy()
            said = collect(
                scan_tables(texts, "response")
                .select("response_id", "response")
                .join(names, on="response_id", how="semi")
            )
            shown += candidate_rows(first, few.join(said, on="response_id"), choices)
        asked += len(known)
    sampled, best = pl.concat(everything), pl.concat(chosen)

    def write(path: str | Path, name: str, rows: list[Row]) -> None:
        write_csv_table(path, name, [{"round": round_} | row for row in rows])

    sources = {name: sampled.filter(checkpoint=name)["score"] for name in checkpoints}
    sources["chosen"] = best["score"]
    write(score_table, "scores", [score_row(*item) for item in sources.items()])
    ranks = pl.concat(correlations)["correlation"]
    row = length_row(best, sampled, ranks, [seed, "length", round_], resamples)
    write(length, "length", [row])
    write(candidates, "candidates", shown)
    print(f"round {round_}: {asked} prompts, {len(sampled)} responses")
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
