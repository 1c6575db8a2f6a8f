"""See before anything is trained whether lm-eval can be asked what the run will ask it.

Reads:
    ifeval ({name of the benchmark: source}): key, prompt, instruction_id_list, kwargs.
    lm-eval's environment (`alma.lm_eval`).
Writes: evaluation/lm_eval.txt: versions of the packages that grade.
Params: ifeval.
"""

from pathlib import Path

from alma.files import write_text
from alma.ifeval import documents, graded


def main(checked: str | Path, *, ifeval: dict[str, str]) -> None:
    """Grade an answer to every prompt of IFEval.

    Raises:
        InputError: the environment lacks something, or cannot grade a prompt.
    """
    lines = []
    for name, source in sorted(ifeval.items()):
        found = documents(name, source)
        _, versions = graded([(prompt_id, doc, "-") for prompt_id, doc in found.items()], 0)
        lines += [f"evaluation.benchmarks.{name}: {len(found)} prompts can be graded"]
        lines += [f"{package} {version}" for package, version in sorted(versions.items())]
    write_text(checked, "\n".join(lines) + "\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.output.checked, **config)
