"""See before anything is trained whether lm-eval can be asked what the run will ask it.

Reads:
    ifeval ({name of the benchmark: source}): key, prompt, instruction_id_list, kwargs.
    lm-eval's environment (`alma.lm_eval`); the tasks of its harness, with their data.
Writes: evaluation/lm_eval.txt: versions of the packages that grade.
Params: ifeval, tasks, include_path (folder with tasks of one's own).
"""

from collections.abc import Sequence
from pathlib import Path

from alma.files import write_text
from alma.ifeval import documents, graded
from alma.lm_eval import ask

NOTHING_RUN = {"shots": None, "limit": None, "batch_size": 1, "chat": False, "seed": 0}


def main(
    checked: str | Path,
    *,
    ifeval: dict[str, str],
    tasks: Sequence[str] = (),
    include_path: str | None = None,
) -> None:
    """Grade an answer to every prompt of IFEval, and load the harness's tasks.

    Raises:
        InputError: the environment lacks something, cannot grade a prompt or load a task.
    """
    lines = []
    for name, source in sorted(ifeval.items()):
        found = documents(name, source)
        _, versions = graded([(prompt_id, doc, "-") for prompt_id, doc in found.items()], 0)
        lines += [f"evaluation.benchmarks.{name}: {len(found)} prompts can be graded"]
        lines += [f"{package} {version}" for package, version in sorted(versions.items())]
    if tasks:
        question = {"tasks": list(tasks), "include": include_path, "model": None, "device": "cpu"}
        answer = ask("harness", question | NOTHING_RUN)
        lines += [f"evaluation.harness.tasks: {', '.join(answer['tasks'])} can be loaded"]
        lines += [f"{package} {version}" for package, version in sorted(answer["versions"].items())]
    write_text(checked, "\n".join(lines) + "\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.output.checked, **config)
