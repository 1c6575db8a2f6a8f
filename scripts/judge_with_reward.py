"""Score one checkpoint's evaluation responses with a reward model.

Reads:
    a reward model: a folder, or hub:OWNER/NAME@REVISION (`alma.reward_model`).
    seeds/eval.parquet: benchmark, prompt_id, prompt.
    evaluation/responses/{checkpoint}/{benchmark}.parquet, or evaluation/reference/{benchmark}.parquet. Of
    a conversation the last answer is scored, after the messages before it (`alma.turns`).
Writes:
    evaluation/judges/reward/{judge}/{writer}/{benchmark}.parquet: a `judged` table (`alma.outside_judges`)
    with the question `score`, sorted by prompt; a value is a reward, float64 without bounds.
Params:
    seed (of the main run), judge (name), benchmark_name, prompts_asked (most prompts, or null), model,
    engine (with the judge's max_model_len); not compared: max_unreadable.
"""

from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.outside_judges import SCORE, asked_prompts, judged_row

TOO_LONG = "longer than max_length"


def main(
    prompts: str | Path,
    responses: str | Path,
    judged: str | Path,
    *,
    seed: int,
    judge: str,
    benchmark_name: str,
    prompts_asked: int | None,
    model: str,
    engine: dict[str, Any],
    max_unreadable: float,
) -> None:
    """Score the responses to the chosen prompts.

    Raises:
        InputError: the model is no reward model, or too many responses are too long for it.
    """
    from alma.reward_model import reward_folder, rewards
    from alma.tables import read_table, user, write_table
    from alma.turns import read_responses

    name = f"evaluation.judges.{judge}"
    folder = reward_folder(model, name)
    texts = {
        r["prompt_id"]: r["prompt"] for r in read_table(prompts, "eval") if r["benchmark"] == benchmark_name
    }
    rows = sorted(read_responses(responses), key=lambda row: row["prompt_id"])
    chosen = asked_prompts([row["prompt_id"] for row in rows], prompts_asked, seed)
    asked = [row for row in rows if row["prompt_id"] in chosen]
    pairs = [(row["messages"] or user(texts[row["prompt_id"]]), row["response"]) for row in asked]
    values = rewards(folder, name, engine, pairs, f"scoring with {judge}") if asked else []
    found = [
        judged_row(judge, row, SCORE, value=value, problem=TOO_LONG if value is None else None)
        for row, value in zip(asked, values, strict=True)
    ]
    missing = sum(value is None for value in values)
    print(f"{name}: {len(found)} responses, {missing} of them {TOO_LONG}")
    if missing > max_unreadable * len(found):
        raise InputError(
            f"{name}: {missing} of {len(found)} conversations are longer than max_length "
            f"({engine['max_model_len']} tokens), expected at most {max_unreadable:.0%} (max_unreadable)"
        )
    write_table(judged, "judged", found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.input.prompts, snakemake.input.responses, snakemake.output.judged, **config)
