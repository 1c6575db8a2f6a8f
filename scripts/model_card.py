"""Write the model card of a checkpoint: of a model of the run, or of its judge.

Reads:
    evaluation/summary.csv, evaluation/verdict.csv, evaluation/judge.csv: the figures.
    seeds/{sft,judge,judge_heldout}.parquet, rounds/1..r/{dataset,preferences}.parquet: how many rows.
    models/{checkpoint}/SHA256SUMS: which weights the card is of.
    templates/cards/{model,judge}.md.jinja
Writes:
    cards/{checkpoint}.md: Markdown with the metadata of the Hugging Face hub.
Params:
    run, checkpoint, base_model, base_license (or null), labels ({config key: source}), labels_license (or
    null), objective (best_of_n or dpo), judge (the judge that the rounds use), recipe ({config key: value}).
"""

import json
import re
from pathlib import Path
from typing import Any

from alma import cards
from alma.csv_tables import read_csv_table
from alma.judging import PREFILL, judge_messages
from alma.tables import count_rows

OBJECTIVES = {
    "best_of_n": "the base model is then fine-tuned anew on the labeled pairs and all chosen responses",
    "dpo": "the model after round 1 is then trained with DPO on a chosen and a rejected response per prompt",
}


def steps(checkpoint: str, objective: str, base: str, labels: dict[str, str]) -> str:
    """How the checkpoint came to be, in sentences."""
    sources = "; ".join(f"`{key}`: {cards.source_text(source)}" for key, source in labels.items())
    told = [f"Base model: {base}. Labels: {sources}."]
    if checkpoint == "judge-seed":
        told.append("The base model was fine-tuned to give the ratings of the labels.")
    elif checkpoint == "judge":
        told.append(
            "The base model was fine-tuned to give the ratings of the labels (judge-seed), then further on "
            "its own ratings of responses that the fine-tuned models wrote, with some of the labels."
        )
    else:
        told.append("Round 1 fine-tunes the base model on the labeled pairs.")
    if checkpoint.startswith("round-"):
        told.append(
            "In each later round several checkpoints answer new prompts, which the base model wrote, and a "
            f"judge that was trained on the rated responses scores the answers; {OBJECTIVES[objective]}."
        )
    return " ".join(told)


def limits(checkpoint: str, judge: bool, benchmarks: list[str], rows: int) -> list[str]:
    """What the figures of the card do not say."""
    if judge:
        return [
            "It was trained to rate responses like those of its labels; of others it may know nothing.",
            f"It learned from {rows} rated responses. A high score is no fact about a response.",
        ]
    return [
        f"Measured on {', '.join(benchmarks)} alone: of safety and of all else nothing is known.",
        "The judge that chose the training data also gives the judge scores; trust the checks first.",
        "What the base model says that is wrong or harmful, this model can say: nothing was done about it.",
        f"`{checkpoint}` is of one run with one seed; another seed gives other weights and other figures.",
    ]


def sha256_of_weights(sums: str | Path) -> str:
    """SHA-256 of model.safetensors, of a checkpoint's SHA256SUMS."""
    found = re.search(r"^([0-9a-f]{64})  model\.safetensors$", Path(sums).read_text(), re.M)
    if found is None:
        raise ValueError(f"{sums}: no line for model.safetensors")
    return found[1]


def main(
    summary: str | Path,
    verdict: str | Path,
    judges: str | Path,
    sft: str | Path,
    rated: list[str],
    sets: list[str],
    sums: str | Path,
    template: str | Path,
    card: str | Path,
    *,
    run: str,
    checkpoint: str,
    base_model: str,
    base_license: str | None,
    labels: dict[str, str],
    labels_license: str | None,
    objective: str,
    judge: str,
    recipe: dict[str, Any],
) -> None:
    """Write the card of one checkpoint; see the module's docstring."""
    from huggingface_hub import ModelCard, ModelCardData

    from alma.files import write_text

    is_judge = checkpoint.startswith("judge")
    links, results = read_csv_table(verdict, "verdict"), read_csv_table(summary, "summary")
    stated = cards.base_license(base_model, base_license)
    judge_rows = sum(count_rows(path, "judge") for path in rated)
    sizes = [
        [f"round {place}", count_rows(path, Path(path).stem)]
        for place, path in enumerate(sets, start=2 if objective == "dpo" and len(sets) > 0 else 1)
    ]
    shown = checkpoint if is_judge else judge
    judged = cards.judge_table(read_csv_table(judges, "judge"), shown)
    datasets = {cards.hub_repository(source) for source in labels.values()} - {None}
    data = ModelCardData(
        base_model=cards.hub_repository(base_model),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["alma", *(["judge", "reward-model"] if is_judge else ["conversational"])],
        datasets=sorted(name for name in datasets if name) or None,
        **cards.license_metadata(stated),
    )
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in results))
    made = ModelCard.from_template(
        data,
        template_path=str(template),
        name=f"{run}-{checkpoint}",
        run=run,
        checkpoint=checkpoint,
        base=cards.source_text(base_model, ""),
        sft_rows=count_rows(sft, "sft"),
        judge_rows=judge_rows,
        overall=links[0]["says"],
        links=cards.links_table(links, "judge" if is_judge else ""),
        made=steps(checkpoint, objective, cards.source_text(base_model, ""), labels),
        recipe=cards.recipe_table(recipe),
        sets=cards.table(["data set", "rows"], sizes),
        evaluation=cards.evaluation_table(results, checkpoint),
        outside=cards.outside_table(results, checkpoint),
        judge=judged if is_judge else f"The judge of the rounds (`{shown}`):\n\n{judged}",
        prefill=PREFILL,
        question=json.dumps(judge_messages("THE PROMPT", "THE RESPONSE"), indent=2),
        limits=limits(checkpoint, is_judge, benchmarks, judge_rows),
        license_text=cards.license_text(stated, labels_license, "the weights"),
        sha256=sha256_of_weights(sums),
    )
    write_text(card, str(made).rstrip() + "\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            snakemake.input.summary,
            snakemake.input.verdict,
            snakemake.input.judges,
            snakemake.input.sft,
            list(snakemake.input.rated),
            list(snakemake.input.sets),
            snakemake.input.sums,
            snakemake.input.template,
            snakemake.output.card,
            **config,
        )
