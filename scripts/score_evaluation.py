"""Score one checkpoint's evaluation responses with the judge.

Reads:
    models/judge/: the last judge of the main run, for variants too. It chose the training data, so its
    score is no independent measure; the checks in the same table are.
    seeds/eval.parquet: benchmark, prompt_id, prompt.
    evaluation/responses/{checkpoint}/{benchmark}.parquet: responses. Of a conversation the last answer is
    scored, and the judge reads what stood before it as the prompt (`alma.turns.transcript`).
Writes:
    evaluation/{checkpoint}/{benchmark}.parquet: the same rows with score (float64 0-10 or null),
    mass (float64) and p (eleven float32), without `messages`. The three are null where the judge was not
    asked.
Params:
    seed (of the main run), judge_prompts (prompts whose responses are scored, null for all), engine, reading
    (fast or exact), min_mass, max_unreadable.
"""

from pathlib import Path
from typing import Any

from alma.ids import hashed_int

NOT_ASKED = {"score": None, "mass": None, "p": None}


def judged_prompts(prompt_ids: list[str], most: int | None, seed: int) -> set[str]:
    """Up to `most` prompts of a benchmark by seeded hash, None for all; a larger number keeps the earlier."""
    return set(sorted(set(prompt_ids), key=lambda prompt: hashed_int(seed, "judge_prompts", prompt))[:most])


def main(
    model: str | Path,
    prompts: str | Path,
    responses: str | Path,
    scores: str | Path,
    *,
    seed: int,
    judge_prompts: int | None,
    engine: dict[str, Any],
    reading: str,
    min_mass: float,
    max_unreadable: float,
) -> None:
    """Score the responses to the chosen prompts; prompts and responses are joined by benchmark and id."""
    from alma.engine import open_engine
    from alma.fitting import score_fitting
    from alma.tables import read_table, write_table
    from alma.turns import read_responses, transcript

    texts = {(r["benchmark"], r["prompt_id"]): r["prompt"] for r in read_table(prompts, "eval")}
    rows = read_responses(responses)
    before = [row.pop("messages") for row in rows]
    chosen = judged_prompts([row["prompt_id"] for row in rows], judge_prompts, seed)
    asked = [i for i, row in enumerate(rows) if row["prompt_id"] in chosen]
    results: list[dict[str, Any]] = [NOT_ASKED] * len(rows)

    def asked_text(i: int) -> str:
        return transcript(before[i]) if before[i] else texts[rows[i]["benchmark"], rows[i]["prompt_id"]]

    print(f"the judge scores {len(asked)} of {len(rows)} responses")
    if asked:
        found = score_fitting(
            open_engine(model, engine),
            [(asked_text(i), rows[i]["response"]) for i in asked],
            reading=reading,
            min_mass=min_mass,
            max_unreadable=max_unreadable,
        )
        for i, result in zip(asked, found, strict=True):
            results[i] = result
    write_table(scores, "evaluation", [row | result for row, result in zip(rows, results, strict=True)])


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.input.responses,
            snakemake.output.scores,
            **config,
        )
