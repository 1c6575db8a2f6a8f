"""Run tasks of lm-eval's harness on one checkpoint, in lm-eval's environment.

Reads:
    models/{checkpoint}/
    evaluation/lm_eval.txt: that the tasks can be loaded.
Writes:
    evaluation/harness/{checkpoint}.parquet: a `harness` table (`alma.harness`), one row per task, metric and
    item. Metrics that are no mean over items (perplexity) are left out.
Params: seed, device, tasks, include_path, shots, limit, batch_size, chat (the template of the checkpoint).
"""

from pathlib import Path
from typing import Any

from alma.harness import harness_items, write_items


def main(
    model: str | Path,
    items: str | Path,
    *,
    seed: int,
    device: str,
    tasks: list[str],
    include_path: str | None,
    shots: int | None,
    limit: int | None,
    batch_size: int,
    chat: bool,
) -> None:
    """Write the value of every item."""
    question: dict[str, Any] = {
        "tasks": tasks,
        "include": include_path,
        "model": str(Path(model).resolve()),
        "device": device,
    }
    question |= {"shots": shots, "limit": limit, "batch_size": batch_size, "chat": chat, "seed": seed}
    write_items(items, harness_items(question))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(Path(snakemake.input.model[0]).parent, snakemake.output.results, **config)
