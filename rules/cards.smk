# Cards of what leaves the run: the last model, the judge, the data of the rounds. No run needs them; the target
# `cards` makes them, and tools/push takes them.

import os

# What a card shows of the config.
_ROUNDS = (
    ["seed"],
    ["rounds"],
    ["prompts_per_round"],
    ["samples_per_prompt"],
    ["sampling", "temperature"],
    ["sampling", "top_p"],
    ["sampling", "max_tokens"],
    ["judge", "checkpoint"],
    ["judge", "score"],
    ["training", "selection"],
    ["training", "objective"],
)
_TRAINING = ("method", "last_layers", "learning_rate", "epochs", "batch_size", "max_length")


def card_recipe(*trainings):
    """Keys of the config that a card shows, by their paths: those of the rounds, and these trainings'."""

    def found(w):
        paths = [*_ROUNDS, *([*training, key] for training in trainings for key in _TRAINING)]
        return {".".join(path): cfg(w, *path) for path in paths}

    return found


def checkpoint_recipe(w):
    if w.checkpoint.startswith("judge"):
        return card_recipe(["judge", "training"], ["judge", "distillation", "training"])(w)
    dpo = w.checkpoint.startswith("round-") and cfg(w, "training", "objective") == "dpo"
    return card_recipe(["training", "sft"], *([["training", "dpo"]] if dpo else []))(w)


def checkpoint_sets(w):
    """Data sets that a checkpoint was trained on; of a judge none, since it learns from the labels."""
    if w.checkpoint.startswith("judge"):
        return []
    round_ = int(w.checkpoint.split("-")[1]) if w.checkpoint.startswith("round-") else 1
    return training_sets(w.run, round_) if round_ > 1 else [f"results/{w.run}/rounds/1/dataset.parquet"]


def label_sources(w):
    """Sources of the labels by config key."""
    labels = cfg(w, "labels")
    extra = {f"labels.annotations.{i}": source for i, source in enumerate(labels["annotations"])}
    return {"labels.sft": labels["sft"], "labels.judge": labels["judge"], **extra}


def card_template(name):
    """Input function: a template, so that an edit is noticed."""
    folder = ROOT / "templates" / "cards"
    return lambda w: local(os.path.relpath(folder / f"{name(w) if callable(name) else name}.md.jinja"))


def licenses(w):
    return {
        "base_model": cfg(w, "base_model", "source"),
        "base_license": cfg(w, "base_model", "license"),
        "labels": label_sources(w),
        "labels_license": cfg(w, "labels", "license"),
    }


localrules:
    cards,


rule model_card:
    input:
        summary=from_run("results/{run}/evaluation/summary.csv"),
        verdict=from_run("results/{run}/evaluation/verdict.csv"),
        judges=from_run("results/{run}/evaluation/judge.csv"),
        sft=from_run("results/{run}/seeds/sft.parquet"),
        rated=from_run(
            lambda w: [f"results/{w.run}/seeds/{name}.parquet" for name in ("judge", "judge_heldout")]
        ),
        sets=from_run(checkpoint_sets),
        sums=from_run("results/{run}/models/{checkpoint}/SHA256SUMS"),
        template=card_template(lambda w: "judge" if w.checkpoint.startswith("judge") else "model"),
    output:
        card="results/{run}/cards/{checkpoint}.md",
    log:
        "results/{run}/logs/model_card/{checkpoint}.log",
    benchmark:
        "results/{run}/benchmarks/model_card/{checkpoint}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "model_card",
            licenses,
            run=lambda w: w.run,
            checkpoint=lambda w: w.checkpoint,
            objective=lambda w: (
                cfg(w, "training", "objective") if w.checkpoint.startswith("round-") else "best_of_n"
            ),
            judge=from_config("judge", "checkpoint"),
            recipe=checkpoint_recipe,
        ),
    message:
        "Writing the model card of {wildcards.checkpoint}"
    script:
        "../scripts/model_card.py"


rule data_card:
    input:
        chosen=every_round("results/{run}/rounds/{round}/dataset.parquet"),
        preferences=every_round("results/{run}/rounds/{round}/preferences.parquet"),
        verdict=from_run("results/{run}/evaluation/verdict.csv"),
        filters=from_run("results/{run}/tables/prompt_filters.csv"),
        template=card_template("data"),
    output:
        card="results/{run}/cards/data.md",
    log:
        "results/{run}/logs/data_card.log",
    benchmark:
        "results/{run}/benchmarks/data_card.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=NEEDS.memory(2000),
        runtime=NEEDS.minutes(30),
    params:
        spec=spec(
            "data_card",
            licenses,
            run=lambda w: w.run,
            rounds=lambda w: list(later_rounds(w.run)),
            samples=from_config("samples_per_prompt"),
            selection=from_config("training", "selection"),
            recipe=card_recipe(["training", "sft"]),
        ),
    message:
        "Writing the data card of the rounds"
    script:
        "../scripts/data_card.py"


rule cards:
    input:
        [f"results/{RUN}/cards/{name}.md" for name in (final_checkpoint(RUN), "judge", "data")],
