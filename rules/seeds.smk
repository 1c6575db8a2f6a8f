# Human labels in, checked tables out. Bad rows are listed all at once, and nothing else starts.

from alma.workflow.config import data_sources


def local_seed_files(run):
    """Seed and benchmark files on this machine; hub data sets are named in the spec instead."""
    return sorted({path for path in data_sources(cfg(run)).values() if is_local(path)})


def label_plan(w):
    """What the run does with the labels, for the summary that its first job prints."""
    trainings = {"sft": cfg(w, "training", "sft"), "judge": cfg(w, "judge", "training")}
    return {
        **{name: {key: part[key] for key in ("epochs", "batch_size")} for name, part in trainings.items()},
        **{key: cfg(w, key) for key in ("rounds", "prompts_per_round", "samples_per_prompt")},
        "balance": cfg(w, "judge", "balance"),
        "checkpoints": cfg(w, "checkpoints", "sft"),
        "shots": cfg(w, "prompts", "shots"),
    }


def lengths_checked(w):
    """Input function of what trains or samples first: it waits until all that people wrote is known to fit.

    Nothing of it goes into a result, so a variant with other limits shares what waits for another check.
    """
    return SHARING.source(f"results/{w.run}/seeds/checked.txt")


lengths_checked.own = lambda w: []

# What a tokenizer is loaded from.
base_tokenizer = from_run(
    lambda w: [
        f"results/{w.run}/models/base/{name}"
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")
    ]
)


rule read_seeds:
    input:
        files=from_user(lambda w: local_seed_files(w.run)),
    output:
        sft="results/{run}/seeds/sft.parquet",
        judge="results/{run}/seeds/judge.parquet",
        judge_heldout="results/{run}/seeds/judge_heldout.parquet",
        judge_benchmark="results/{run}/seeds/judge_benchmark.parquet",
        eval="results/{run}/seeds/eval.parquet",
        eval_turns="results/{run}/seeds/eval_turns.parquet",
        judge_prompts="results/{run}/seeds/judge_prompts.parquet",
    log:
        "results/{run}/logs/read_seeds.log",
    benchmark:
        "results/{run}/benchmarks/read_seeds.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "read_seeds",
            seed=from_config("seed"),
            sft=from_config("labels", "sft"),
            judge=from_config("labels", "judge"),
            annotations=from_config("labels", "annotations"),
            scale=from_config("judge", "scale"),
            heldout_fraction=from_config("judge", "heldout_fraction"),
            judge_benchmark=from_config("judge", "benchmark"),
            benchmarks=from_config("evaluation", "benchmarks"),
            max_bad_rows=from_config("labels", "max_bad_rows"),
        ),
        uncompared=uncompared(plan=label_plan),
    message:
        "Reading and checking the seeds"
    script:
        "../scripts/read_seeds.py"


rule check_lengths:
    input:
        tokenizer=base_tokenizer,
        sft=from_run("results/{run}/seeds/sft.parquet"),
        judge=from_run("results/{run}/seeds/judge.parquet"),
        judge_heldout=from_run("results/{run}/seeds/judge_heldout.parquet"),
        judge_benchmark=from_run("results/{run}/seeds/judge_benchmark.parquet"),
        eval=from_run("results/{run}/seeds/eval.parquet"),
        eval_turns=from_run("results/{run}/seeds/eval_turns.parquet"),
    output:
        checked="results/{run}/seeds/checked.txt",
        table="results/{run}/tables/lengths.csv",
    log:
        "results/{run}/logs/check_lengths.log",
    benchmark:
        "results/{run}/benchmarks/check_lengths.tsv"
    priority: 10  # all training and sampling waits for it
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(4000),
        runtime=NEEDS.minutes(60),
    params:
        spec=spec(
            "check_lengths",
            seed=from_config("seed"),
            max_model_len=from_config("engine", "max_model_len"),
            shots=from_config("evaluation", "shots"),
            max_tokens=from_config("evaluation", "max_tokens"),
            judge_shots=from_config("judge", "shots"),
            few_shot_judge=lambda w: few_shot_judge(w),  # of rules/scores.smk
            own_benchmark=from_config("evaluation", "selection", "benchmark"),
            own_prompts=from_config("evaluation", "selection", "prompts"),
            new_prompt_tokens=from_config("prompts", "max_tokens"),
            response_tokens=from_config("sampling", "max_tokens"),
            prompt_shots=from_config("prompts", "shots"),
            sft_max_length=from_config("training", "sft", "max_length"),
            judge_max_length=from_config("judge", "training", "max_length"),
        ),
    message:
        "Checking that all that people wrote fits the engine"
    script:
        "../scripts/check_lengths.py"
