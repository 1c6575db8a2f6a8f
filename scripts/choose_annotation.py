"""Choose what people rate, and write the files that they rate it in.

Reads:
    annotation/prompts.parquet: prompt_id, prompt.
    annotation/samples/{checkpoint}.parquet: prompt_id, response_id, checkpoint, sample, response,
    finish_reason.
    annotation/scores/{checkpoint}.parquet: response_id, score, p.
    seeds/judge.parquet, seeds/judge_heldout.parquet: what has a label already, and is not asked for again.
Writes (prompts, and the responses to each, in a seeded order; no file but the key says whose they are):
    tasks: JSON for Label Studio, one task per prompt (`alma.annotation.label_studio_tasks`).
    interface: Label Studio's labeling configuration (XML).
    sheet: CSV, one row per response, with empty cells for the score and the annotator (`annotation` of
        `alma.csv_schemas`).
    page: instructions for annotators (HTML).
    key: Parquet (`annotation_key`), which response is whose, and the judge's score.
Params:
    seed, prompts (how many, at most), responses (to each), choose (uncertain, spread or random).
"""

from pathlib import Path

from alma.annotation import (
    as_json,
    choose_tasks,
    instructions,
    label_studio_config,
    label_studio_tasks,
    response_key,
    sheet_rows,
)
from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.files import write_text
from alma.tables import read_table, read_tables, write_table


def main(
    prompts_table: str | Path,
    samples: list[str],
    scores: list[str],
    labels: list[str],
    tasks: str | Path,
    interface: str | Path,
    sheet: str | Path,
    page: str | Path,
    key: str | Path,
    *,
    seed: int,
    prompts: int,
    responses: int,
    choose: str,
) -> None:
    """Choose and write.

    Raises:
        InputError: no prompt has enough responses that differ.
    """
    texts = {row["prompt_id"]: row["prompt"] for row in read_table(prompts_table, "seed_prompt")}
    judged = {row["response_id"]: row for row in read_tables(scores, "score")}
    rows = [
        row | {name: judged[row["response_id"]][name] for name in ("score", "p")}
        for row in read_tables(samples, "response")
    ]
    labeled = {response_key(row["prompt"], row["response"]) for row in read_tables(labels, "judge")}
    chosen = choose_tasks(texts, rows, labeled, count=prompts, per_prompt=responses, choose=choose, seed=seed)
    if not chosen:
        raise InputError(
            f"annotation: none of {len(texts)} prompts has {responses} responses that are finished, scored, "
            f"without a label and not alike, among {len(rows)} that were sampled; expected at least one.\n"
            f"  Raise annotation.samples or sampling.max_tokens, or lower annotation.responses."
        )
    made = sheet_rows(chosen)
    write_text(tasks, as_json(label_studio_tasks(chosen)))
    write_text(interface, label_studio_config(responses))
    write_csv_table(sheet, "annotation", made)
    write_text(page, instructions(len(chosen), responses))
    flat = [row for _, group in chosen for row in group]
    names = ("key", "prompt_id", "response_id", "checkpoint", "sample", "score")
    write_table(
        key,
        "annotation_key",
        [
            {"task": line["task"], "letter": line["letter"]} | {name: row[name] for name in names}
            for line, row in zip(made, flat, strict=True)
        ],
    )
    print(f"{len(chosen)} of {len(texts)} prompts are to be rated, {len(flat)} responses ({choose})")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.prompts,
            list(snakemake.input.samples),
            list(snakemake.input.scores),
            [snakemake.input.judge, snakemake.input.judge_heldout],
            snakemake.output.tasks,
            snakemake.output.interface,
            snakemake.output.sheet,
            snakemake.output.page,
            snakemake.output.key,
            **config,
        )
