"""What runs after a change: the table that docs/rebuilds.md shows and test_rebuilds.py runs.

    .venv/bin/python tests/support/rebuild_cases.py > docs/rebuilds.md

A job is written as rule/wildcards, as its log is named: sample_responses/3-round-2-0-0 is round 3,
checkpoint round-2, shard 0, block 0. The run is `SMALL` of fast_run.py: three rounds, one shard, one
block; rounds sample from sft-0 and, from round 3 on, from the latest model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SUMMARY = {"summarize_evaluation", "plot_progress", "plot_checks", "verdict"}
ROUND_FIGURES = {"plot_scores", "plot_length", "list_candidates"}
JUDGE_TABLES = {"evaluate_judge", "plot_judge"}
# What the judge's choice is worth: from the judge's scores on.
CHOICE = {"score_selection", "measure_selection", "plot_selection", "check_judge"}
REPORT = {"render_report"}
MODELS = ("base", "sft-0", "round-2", "round-3")


def sampled(round_: int, checkpoints: tuple[str, ...], block: int = 0, shard: int = 0) -> set[str]:
    return {f"sample_responses/{round_}-{c}-{shard}-{block}" for c in checkpoints}


def scored(round_: int, checkpoints: tuple[str, ...], block: int = 0, shard: int = 0) -> set[str]:
    return {f"score_responses/{round_}-{c}-{shard}-{block}" for c in checkpoints}


def chosen(round_: int, shard: int = 0) -> set[str]:
    return {f"select_responses/{round_}-{shard}", f"build_dataset/{round_}", f"measure_round/{round_}"}


def answered(*models: str) -> set[str]:
    return {f"sample_evaluation/{m}-everyday" for m in models}


def judged(*models: str) -> set[str]:
    return {f"score_evaluation/{m}-everyday" for m in models}


# All that follows when round 2 trains on other data: its model, and round 3 but for the responses of sft-0.
FROM_TRAINING_2 = (
    {"train_round/2", "train_round/3", "plot_training"}
    | sampled(3, ("round-2",))
    | scored(3, ("round-2",))
    | chosen(3)
    | answered("round-2", "round-3")
    | judged("round-2", "round-3")
    | SUMMARY
    | ROUND_FIGURES
    | REPORT
)
# All that follows from another judge, or other responses to teach it with.
FROM_JUDGE = (
    {"score_heldout/judge"}
    | JUDGE_TABLES
    | CHOICE
    | scored(2, ("sft-0",))
    | scored(3, ("sft-0",))
    | chosen(2)
    | judged(*MODELS)
    | FROM_TRAINING_2
)
# The judge's training on its own scores, from the sampling of its responses on.
OWN_SCORES = {"sample_distillation/sft-0", "score_distillation", "train_judge"}
FROM_SEED_JUDGE = {"score_heldout/judge-seed", "score_distillation", "train_judge"} | FROM_JUDGE
# All that follows from other SFT seeds: the base model and the seed judge stay. The stand-in writes
# other prompts, but the filters drop as many as before, so their figure is cut off.
FROM_SFT_SEEDS = (
    {"read_seeds", "check_lengths", "build_sft_dataset", "train_sft/0"}
    | {"synthesize_prompts/0", "filter_prompts/0", "compare_prompts/0", "drop_duplicates", "unique_prompts/0"}
    | {"fit_projection", "embed_prompts/0", "find_cells", "assign_cells/0", "share_clusters"}
    | {"cluster_cells/0", "cluster_prompts", "deal_prompts", "check_rounds", "plot_prompts"}
    | {"gather_prompts/2-0", "gather_prompts/3-0", "round_prompts/2-0", "round_prompts/3-0"}
    | OWN_SCORES
    | sampled(2, ("sft-0",))
    | sampled(3, ("sft-0",))
    | {"sample_selection"}
    | answered("base", "sft-0")
    | FROM_JUDGE
)


@dataclass(frozen=True)
class Case:
    """One change and the jobs that run after it.

    Args:
        change: words for the table.
        runs: the jobs that run, exactly.
        override: keys of the config that differ.
        edit: (file, text, text in its place); the text must be there.
        act: any other change, done to the `FastRun`.
        arguments: more words for the snakemake command.
        cut: whether Snakemake plans more than runs, and drops it when results come out the same.
        key: name of the test.
    """

    key: str
    change: str
    runs: set[str]
    override: dict[str, Any] = field(default_factory=dict)
    edit: tuple[str, str, str] | None = None
    act: Callable[[Any], Any] | None = None
    arguments: tuple[str, ...] = ()
    cut: bool = False


def reverse_lines(run: Any) -> None:
    for name in ("sft", "judge", "eval"):
        path = run.folder / "data" / f"{name}.jsonl"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def append_line(name: str, line: str) -> Callable[[Any], None]:
    def change(run: Any) -> None:
        with (run.folder / "data" / f"{name}.jsonl").open("a") as handle:
            handle.write(line + "\n")

    return change


def touch_everything(run: Any) -> None:
    """New time stamps on inputs, scripts and results, oldest artifact last."""
    for folder in ("data", "scripts", "rules", "results"):
        for path in sorted((run.folder / folder).rglob("*"), reverse=True):
            if path.is_file():
                path.touch()


def reword(run: Any) -> None:
    """Other words in what jobs print, in errors, and any edit of the modules that run around a job."""
    from alma.workflow.codehash import RUNTIME

    for name, old, new in (
        ("scripts/select_responses.py", "} prompts: {", "} questions: {"),
        ("scripts/drop_duplicates.py", "passed the filters", "is left"),
    ):
        path = run.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    for module in RUNTIME:
        with (run.folder / "scripts" / f"{module.replace('.', '/')}.py").open("a") as handle:
            handle.write("\n\nANOTHER_MESSAGE = 'in other words'\n")


def there_and_back(run: Any) -> None:
    """What `git checkout` of another commit and back does: every edited file is written anew."""
    for name in ("scripts/alma/selection.py", "scripts/train_sft.py", "data/sft.jsonl", "rules/sft.smk"):
        path = run.folder / name
        text = path.read_text()
        path.write_text(text + "\n")
        path.write_text(text)


def reformat(run: Any) -> None:
    """Comments, docstrings and layout in a script and in a module that all scripts share."""
    for name in ("scripts/train_sft.py", "scripts/alma/tables.py", "scripts/alma/workflow/job.py"):
        path = run.folder / name
        first, rest = path.read_text().split("\n", 1)
        path.write_text(f"{first}\n{rest}\n\n# a remark\n".replace('"""What ', '"""All that '))
    path = run.folder / "scripts" / "select_responses.py"
    path.write_text("# a remark\n" + path.read_text())


SFT_ROW = '{"prompt": "Name one river in Egypt.", "response": "The Nile."}'
EVAL_ROW = '{"prompt": "Write one sentence about glaciers in spring."}'

CASES = [
    Case(
        "rounds",
        "raise `rounds` from 3 to 4",
        {"check_rounds", "gather_prompts/4-0", "round_prompts/4-0", "train_round/4", "plot_training"}
        | sampled(4, ("sft-0", "round-3"))
        | scored(4, ("sft-0", "round-3"))
        | chosen(4)
        | answered("round-4")
        | judged("round-4")
        | SUMMARY
        | ROUND_FIGURES
        | REPORT,
        override={"rounds": 4},
    ),
    Case(
        "samples",
        "raise `samples_per_prompt` from 4 to 12",  # two blocks more: a better response is then among them
        sampled(2, ("sft-0",), 1)
        | sampled(2, ("sft-0",), 2)
        | scored(2, ("sft-0",), 1)
        | scored(2, ("sft-0",), 2)
        | chosen(2)
        | sampled(3, ("sft-0", "round-2"), 1)
        | sampled(3, ("sft-0", "round-2"), 2)
        | scored(3, ("sft-0", "round-2"), 1)
        | scored(3, ("sft-0", "round-2"), 2)
        | {"check_judge"}
        | FROM_TRAINING_2,
        override={"samples_per_prompt": 12},
    ),
    Case(
        "prompts",
        "raise `prompts_per_round` from 3 to 6",
        {"check_rounds", "round_prompts/2-1", "round_prompts/3-1"}
        | {"select_responses/2-1", "select_responses/3-1", "build_dataset/2", "measure_round/2"}
        | sampled(2, ("sft-0",), shard=1)
        | scored(2, ("sft-0",), shard=1)
        | sampled(3, ("sft-0", "round-2"), shard=1)
        | scored(3, ("sft-0", "round-2"), shard=1)
        | FROM_TRAINING_2,
        override={"prompts_per_round": 6},
    ),
    Case(
        "prompt-filter",
        "change a filter of prompts that drops as many as before (`prompts.min_words`)",
        {"filter_prompts/0"},
        override={"prompts": {"min_words": 5}},
        cut=True,
    ),
    Case(
        "judge-training",
        "change `judge.training.epochs`",
        {"train_judge_seed"} | FROM_SEED_JUDGE,
        override={"judge": {"training": {"epochs": 0.5}}},
    ),
    Case(
        "judge-reading",
        "change `judge.reading` where the scores stay (the base model is always read exactly)",
        {"score_heldout/judge-seed", "score_heldout/judge", "score_distillation", "score_selection"}
        | scored(2, ("sft-0",))
        | scored(3, ("sft-0", "round-2"))
        | judged(*MODELS),
        override={"judge": {"reading": "exact"}},
        cut=True,
    ),
    Case(
        "judge-template",
        "change the judge's question (in `alma/judging.py`)",
        {"check_lengths", "filter_prompts/0", "train_judge_seed", "score_heldout/base"}
        | {"sample_selection"}
        | answered("base", "sft-0")
        | FROM_SEED_JUDGE,
        edit=("scripts/alma/judging.py", "0 unusable", "0 worthless"),
        cut=True,
    ),
    Case(
        "objective",
        "change `training.objective` to dpo",
        FROM_TRAINING_2,
        override={"training": {"objective": "dpo"}},
    ),
    Case(
        "temperature",
        "change `sampling.temperature`",
        {"sample_selection"} | OWN_SCORES | sampled(2, ("sft-0",)) | sampled(3, ("sft-0",)) | FROM_JUDGE,
        override={"sampling": {"temperature": 0.9}},
    ),
    Case(
        "evaluation-set",
        "add a prompt to the evaluation set",
        {"read_seeds", "check_lengths", "filter_prompts/0", "sample_selection", "measure_selection"}
        | answered(*MODELS)
        | judged(*MODELS)
        | SUMMARY
        | REPORT,
        act=append_line("eval", EVAL_ROW),
        cut=True,
    ),
    Case(
        "judge-prompts",
        "change `evaluation.judge_prompts`",
        judged(*MODELS) | SUMMARY | REPORT,
        override={"evaluation": {"judge_prompts": 2}},
    ),
    Case(
        "figure",
        "change a figure's script",
        {"plot_length"} | REPORT,
        edit=("scripts/plot_length.py", 'set_ylabel("', 'set_ylabel("the '),
    ),
    Case(
        "sft-row",
        "add an SFT seed row",
        FROM_SFT_SEEDS,
        act=append_line("sft", SFT_ROW),
        cut=True,
    ),
    Case(
        "sft-edit",
        "edit the response of an SFT seed row (new prompts depend on its prompt alone)",
        {"read_seeds", "check_lengths", "build_sft_dataset", "train_sft/0"}
        | {"synthesize_prompts/0", "filter_prompts/0"}
        | OWN_SCORES
        | sampled(2, ("sft-0",))
        | sampled(3, ("sft-0",))
        | {"sample_selection"}
        | answered("base", "sft-0")
        | FROM_JUDGE,
        act=lambda run: edit_line(run, "sft", -1, "response"),
        cut=True,
    ),
    Case(
        "judge-row",
        "edit the score of a judge seed row",
        {"read_seeds", "check_lengths", "train_judge_seed", "score_heldout/base"} | FROM_SEED_JUDGE,
        act=lambda run: edit_line(run, "judge", 0, "score"),
        cut=True,
    ),
    Case(
        "annotations",
        "add a file of annotations of the run's own prompts (`labels.annotations`)",
        {"read_seeds", "check_lengths", "train_judge_seed", "score_heldout/base"} | FROM_SEED_JUDGE,
        override={"labels": {"annotations": ["data/annotations.jsonl"]}},
        act=lambda run: annotate_new_prompts(run, 3),
        cut=True,
    ),
    Case(
        "no-result",
        "change what decides no result: `save_steps`, `lora_rank` under `method: full`, `dpo_beta` under "
        "`best_of_n`, `training.report_to`, `training.attention`, `judge.max_unreadable`, "
        "`engine.max_num_seqs`, `engine.save_responses`",
        set(),
        override={
            "training": {"sft": {"save_steps": 7, "lora_rank": 3}, "dpo": {"epochs": 9}, "dpo_beta": 0.9}
            | {"report_to": ["tensorboard"], "attention": "flash_attention_2"},
            "judge": {"training": {"save_steps": 7, "lora_alpha": 3}, "max_unreadable": 0.2},
            "engine": {"max_num_seqs": 3, "kv_cache_gib": 2, "gpu_memory_utilization": 0.5}
            | {"save_responses": 2},
        },
    ),
    Case("reorder", "put the seed rows in another order", {"read_seeds"}, act=reverse_lines, cut=True),
    Case("touch", "touch every file: data, scripts, rules, results", set(), act=touch_everything),
    Case("comments", "comments, docstrings and layout in scripts and shared modules", set(), act=reformat),
    Case(
        "words",
        "the words of messages, and the machinery around a job (log, records, locks)",
        set(),
        act=reword,
    ),
    Case("checkout", "`git checkout` to another commit and back", set(), act=there_and_back),
    Case(
        "shared-module",
        "change code in `alma/selection.py` that changes no result",
        {"select_responses/2-0", "select_responses/3-0", "measure_round/2", "measure_round/3"}
        | {"measure_selection"},
        edit=("scripts/alma/selection.py", "import ", "UNUSED = 1\nimport "),
        cut=True,
    ),
    Case(
        "same-bytes",
        "make `prompts/unique/` again (`--forcerun unique_prompts`)",
        {"unique_prompts/0"},
        arguments=("--forcerun", "unique_prompts"),
        cut=True,
    ),
]


def annotate_new_prompts(run: Any, prompts: int) -> None:
    """Two rated responses to each of the first of the prompts that the run wrote."""
    import json

    from alma.tables import read_table

    texts = [row["prompt"] for row in read_table(run.path("prompts/unique/0.parquet"), "prompt")[:prompts]]
    rows = [
        {"prompt": text, "response": response, "score": score, "annotator": "a"}
        for text in texts
        for response, score in (("One.", 8), ("Another.", 2))
    ]
    (run.folder / "data" / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def edit_line(run: Any, name: str, index: int, key: str) -> None:
    """Change one value of one row."""
    import json

    path = run.folder / "data" / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    value = rows[index][key]
    rows[index][key] = (value + 1) % 10 if isinstance(value, (int, float)) else value + " Indeed."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rules_of(jobs: set[str]) -> str:
    """Rules and numbers of jobs, in words."""
    names = [job.split("/")[0] for job in sorted(jobs)]
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{name} x{n}" if n > 1 else name for name, n in counts.items()) or "nothing"


def document() -> str:
    """Text of docs/rebuilds.md."""
    head = """# What runs again after a change

`tests/test_rebuilds.py` makes each change to a small finished run (three rounds; vLLM and TRL replaced by
stand-ins, all else real), runs the same command again, and compares the jobs that ran with this table,
job by job. This file is made from the test's own table: `.venv/bin/python tests/support/rebuild_cases.py`.

How it works: Snakemake compares one param of a rule, a string. It holds what of the config decides the
rule's result, and the hash of its code, which covers the rule's script and each module that the script
imports. Inputs count by their content, weights by their SHA256SUMS. After an edit of the code that changes
no result, `tools/accept` keeps the finished files and records that it did ([provenance.md](provenance.md)).

When the results of a job come out the same, the jobs behind it are taken off the plan while the run goes on
("early cut-off"). A dry run cannot know what will come out: in the rows marked * it lists more jobs than then
run.

| change | jobs that run |
|---|---|
"""
    rows = [f"| {case.change}{' *' if case.cut else ''} | {rules_of(case.runs)} |\n" for case in CASES]
    return head + "".join(rows)


if __name__ == "__main__":
    print(document(), end="")
