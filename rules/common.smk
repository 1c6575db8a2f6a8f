# Shared by all stages: the config of a run, paths, counts, and the `spec` of a job.
# Standard library only. A rule reads its config through `cfg` and hands it on in `spec`.

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from alma.workflow.codehash import code_hash
from alma.workflow.config import check_config, data_sources, is_local, parents, run_configs, tables
from alma.workflow.cutoff import install as install_cutoff
from alma.errors import InputError
from alma.workflow.run_lock import hold
from alma.workflow.sharding import block_samples, ceil_div, shard_range
from alma.workflow.variants import Sharing

try:
    check_config(config)
    RUNS = run_configs(config)  # {name of the run: its whole config}
    PARENTS = parents(config)  # {name of a variant: the run that it inherits from}
    TABLES = tables(config)  # {ablation table: its variants}
except InputError as error:
    raise WorkflowError(str(error))
RUN = config["run"]
if workflow.is_main_process and not workflow.dryrun and hold():
    print("alma: the last run was killed and left its lock; it is removed")
if not install_cutoff():
    print("alma: this Snakemake has no place for the early cut-off; unchanged results may be made again")
CODE = {path.stem: code_hash(path) for path in SCRIPTS.glob("*.py")}  # as it is when the run is planned
CONDA = "../envs/cuda.yaml" if shutil.which("nvidia-smi") else "../envs/cpu.yaml"
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "SHA256SUMS",
)


def cfg(wildcards, *path):
    """Config value of the run that a job belongs to (wildcards or a name): cfg(w, "judge", "min_mass")."""
    value = RUNS[getattr(wildcards, "run", wildcards)]
    for key in path:
        value = value[key]
    return value


def spec(script, threads=1, **values):
    """The one param of a rule: its narrow config and a hash of its code, as sorted JSON.

    Snakemake compares params without their names and in any order; one string is exact.
    """
    facts = {"script": f"{script}.py", "code": CODE[script], "threads": threads, "config": values}
    return json.dumps(facts, sort_keys=True)


# paths


def own(files):
    """Input function: artifacts of the job's run, each from the run that makes it.

    A variant takes from the run that it inherits from whatever is the same there (alma.workflow.variants).
    Weights count by their SHA256SUMS, not by their time stamp: they are too large to hash at each job.
    """

    def source(path):
        path = SHARING.source(path)
        return ancient(path) if Path(path).name == "model.safetensors" else path

    def found(w):
        paths = files(w)
        return source(paths) if isinstance(paths, str) else [source(path) for path in paths]

    found.logical = files
    return found


def at(pattern):
    """Input function: path of an artifact in the job's run; it may hold wildcards."""
    return own(lambda w: f"results/{w.run}/{pattern.format(**dict(w.items()))}")


def model_files(run, checkpoint):
    """Files of a checkpoint, as inputs; provenance.json is left out, since it holds the time."""
    return [f"results/{run}/models/{checkpoint}/{name}" for name in MODEL_FILES]


def model(checkpoint):
    """Input function: the files of a checkpoint; `checkpoint` may hold wildcards."""
    return own(lambda w: model_files(w.run, checkpoint.format(**dict(w.items()))))


def model_outputs(checkpoint):
    """Outputs of a rule that makes a checkpoint."""
    return [f"results/{{run}}/models/{checkpoint}/{name}" for name in (*MODEL_FILES, "provenance.json")]


# counts and names


def later_rounds(run):
    """Rounds that sample and select; round 1 is the SFT on the seeds."""
    return range(2, cfg(run, "rounds") + 1)


def shards(run):
    return range(ceil_div(cfg(run, "prompts_per_round"), cfg(run, "prompts_per_shard")))


def blocks(run):
    return range(ceil_div(cfg(run, "samples_per_prompt"), cfg(run, "samples_per_block")))


def sft_checkpoints(run):
    return [f"sft-{i}" for i in range(cfg(run, "checkpoints", "sft"))]


def sampled_checkpoints(run, round_):
    """Checkpoints that round `round_` samples from, in order; round 2 has no latest model yet."""
    names = []
    for name in cfg(run, "checkpoints", "sample"):
        if name == "latest":
            name = f"round-{round_ - 1}" if round_ > 2 else None
        if name and name not in names:
            names.append(name)
    return names or ["sft-0"]


def final_checkpoint(run):
    rounds = cfg(run, "rounds")
    return f"round-{rounds}" if rounds > 1 else "sft-0"


def evaluated_checkpoints(run):
    return ["base", *sft_checkpoints(run), *(f"round-{r}" for r in later_rounds(run))]


def trained_checkpoints(run):
    return [*evaluated_checkpoints(run)[1:], "judge-seed", "judge"]


def benchmarks(run):
    return sorted(cfg(run, "evaluation", "benchmarks"))


def sample_indices(w):
    """Sample indices that one samples file holds (checkpoint x block)."""
    names = sampled_checkpoints(w.run, int(w.round))
    sizes = cfg(w, "samples_per_block"), cfg(w, "samples_per_prompt")
    return block_samples(int(w.block), *sizes, names.index(w.checkpoint), len(names))


def round_files(run, round_, kind, shard=None):
    """All `samples` or `scores` files of a round, or of one shard of it."""
    return [
        f"results/{run}/rounds/{round_}/{kind}/{name}/{s}-{b}.parquet"
        for s in (shards(run) if shard is None else [shard])
        for b in blocks(run)
        for name in sampled_checkpoints(run, int(round_))
    ]


def local_seed_files(run):
    """Seed and benchmark files on this machine; hub data sets are named in the spec instead."""
    return sorted({path for path in data_sources(cfg(run)).values() if is_local(path)})


def base_model_files(run):
    """Files of a local base model and of a chat template of the user's, as inputs."""
    source, template = cfg(run, "base_model", "source"), cfg(run, "base_model", "chat_template")
    found = [template] if template else []
    if is_local(source):
        folder = Path(source)
        found += (
            [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
            if folder.is_dir()
            else [source]
        )
    return found


def prompt_files(run, kind):
    return [f"results/{run}/prompts/{kind}/{s}.parquet" for s in range(cfg(run, "prompts", "shards"))]


def shard_size(w):
    """Prompts in one shard of a round; the last shard may be short."""
    return len(shard_range(int(w.shard), cfg(w, "prompts_per_shard"), cfg(w, "prompts_per_round")))


def distillation_prompts(run):
    """How many of round 2's first prompts give the pairs for self-distillation: about two pairs each.

    It does not depend on shards or on prompts_per_round, so neither changes the judge.
    """
    return ceil_div(cfg(run, "judge", "distillation", "pairs"), 2)


def distillation_files(run, kind):
    """The shards of round 2 that hold those prompts, and block 0 of their samples."""
    wanted = list(shards(run))[: ceil_div(distillation_prompts(run), cfg(run, "prompts_per_shard"))]
    if kind == "prompts":
        return [f"results/{run}/rounds/2/prompts/{s}.parquet" for s in wanted]
    names = sampled_checkpoints(run, 2)
    return [f"results/{run}/rounds/2/samples/{name}/{s}-0.parquet" for s in wanted for name in names]


def few_shot_judge(w):
    """Rated examples in the context of the judge that scores the rounds: only the base model needs them."""
    return cfg(w, "judge", "shots") if cfg(w, "judge", "checkpoint") == "base" else 0


def dataset_sources(run, round_):
    """Where the data set of a round comes from: the seeds, or the round's selected responses."""
    if round_ == 1:
        return [f"results/{run}/seeds/sft.parquet"]
    return [f"results/{run}/rounds/{round_}/selected/{s}.parquet" for s in shards(run)]


def start_checkpoint(run):
    return "base" if cfg(run, "training", "objective") == "best_of_n" else "sft-0"


def training_sets(run, round_):
    if cfg(run, "training", "objective") == "best_of_n":
        return [f"results/{run}/rounds/{r}/dataset.parquet" for r in range(1, round_ + 1)]
    return [f"results/{run}/rounds/{r}/preferences.parquet" for r in range(2, round_ + 1)]


def objective(w):
    """The part of the training config that the run's objective uses."""
    if cfg(w, "training", "objective") == "best_of_n":
        return {"objective": "best_of_n", "training": cfg(w, "training", "sft")}
    return {"objective": "dpo", "training": cfg(w, "training", "dpo"), "beta": cfg(w, "training", "dpo_beta")}


def evaluation_files(run):
    return [
        f"results/{run}/evaluation/{c}/{b}.parquet"
        for c in evaluated_checkpoints(run)
        for b in benchmarks(run)
    ]


REPORT = (
    "evaluation/summary.csv",
    "evaluation/judge.csv",
    *(f"figures/{name}.svg" for name in ("progress", "checks", "judge", "scores", "best_of_n", "length")),
    *(f"figures/{name}.svg" for name in ("prompt_filters", "prompts", "training")),
    "tables/candidates.html",
)


def results_of(run):
    """What a run is for: its last model, its evaluation, its figures."""
    return [*model_files(run, final_checkpoint(run)), *(f"results/{run}/{name}" for name in REPORT)]


def artifacts(run):
    """Every file between the seeds and the results that a job reads or a person traces.

    As targets they are made again when lost, even where nothing behind them needs a run.
    """
    rounds, models = later_rounds(run), trained_checkpoints(run)
    names = [f"prompts/{name}.parquet" for name in ("unique", "clusters")]
    names += [f"rounds/{r}/prompts/{s}.parquet" for r in rounds for s in shards(run)]
    names += [f"rounds/{r}/dataset.parquet" for r in (1, *rounds)]
    names += [f"tables/training/{model}.csv" for model in models]
    names += [
        f"evaluation/responses/{c}/{b}.parquet" for c in evaluated_checkpoints(run) for b in benchmarks(run)
    ]
    return [
        *prompt_files(run, "raw"),
        *prompt_files(run, "embeddings"),
        *(f"results/{run}/{name}" for name in names),
        *(path for r in rounds for kind in ("samples", "scores") for path in round_files(run, r, kind)),
        *(path for r in rounds for path in dataset_sources(run, r)),
        *(path for model in models for path in model_files(run, model)),
        *evaluation_files(run),
    ]


SHARING = Sharing(workflow, PARENTS, results_of)


# ablations


def compared_runs(table):
    """Main run first, then the variants that the table is about."""
    return [RUN, *TABLES[table]]


def compared_config(run):
    """What the table says of a run: its variant's keys, and the judge that chose its responses."""
    changes = {k: v for k, v in config["runs"].get(run, {}).items() if k != "table"}
    return {
        "run": run,
        "changes": changes,
        "judge": [cfg(run, "judge", "checkpoint"), cfg(run, "judge", "score")],
    }


# resources


def engine(w):
    """The engine's part of a spec; `threads` travels beside it."""
    return {key: value for key, value in cfg(w, "engine").items() if key != "threads"}


def needs_gpu(w):
    """1 where a job runs on a GPU: the profile lets one such job run at a time."""
    device = cfg(w, "engine", "device")
    return int(device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") is not None))


def print_summary(when):
    """What a user reads before and after the jobs; a failure here never fails the run."""
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "summary.py"), when, RUN, final_checkpoint(RUN)], check=False
    )
