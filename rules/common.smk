# Shared by all stages: the config of a run, paths, counts, and the `spec` of a job.
# Standard library only. A rule takes its config with `from_config`, its artifacts with `from_run`, and hands
# on in `spec` what decides its result.

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from alma.checkpoints import MODEL_FILES
from alma.errors import InputError, fail_with
from alma.workflow import run_plan
from alma.workflow.codehash import code_hashes
from alma.workflow.comparisons import ablation_tables, controls, replicates
from alma.workflow.config import check_config, gpus_of_jobs, is_local, parents, run_configs
from alma.workflow.cutoff import install as install_cutoff, probe as probe_cutoff
from alma.workflow.devices import check_limit, on_gpu
from alma.workflow.meaning import remember
from alma.workflow.pacing import install as install_pacing
from alma.workflow.planning import install as install_planning
from alma.workflow.run_lock import hold
from alma.workflow.sharding import ceil_div
from alma.workflow.sizes import Requests, Sizes
from alma.workflow.storage import output_path
from alma.workflow.tracking import missing_packages
from alma.workflow.unchanged import install as install_unchanged
from alma.workflow.variants import Sharing
from alma.workflow.warm_start import begin as begin_warm_start

try:
    PLAN = run_plan.read() if workflow.remote_exec else None  # of the run that submitted this job
    if PLAN:
        config.clear()
        config.update(PLAN["config"])
    check_config(config)
    RUNS = run_configs(config)  # {name of the run: its whole config}
    if not workflow.deployment_settings.deployment_method:  # the jobs use this environment
        wanted = sorted({name for values in RUNS.values() for name in values["training"]["report_to"]})
        fail_with(missing_packages(wanted), "config: trackers that cannot be used")
    PARENTS = parents(config)  # {name of a variant: the run that it inherits from}
    ABLATION_TABLES = ablation_tables(config)  # {name of the table: its variants}
    CONTROLS = controls(config)  # {name of a control: the run that it is a control of}
    SERIES = replicates(RUNS)  # {name of a run: the first that differs from it in seeds alone}
    # as it is when the run is planned
    CODE = PLAN["code"] if PLAN else code_hashes(SCRIPTS)
    ON_GPU = {  # {name of a run: whether its jobs run on GPUs}
        run: on_gpu(values["engine"]["device"], elsewhere=workflow.non_local_exec)
        for run, values in RUNS.items()
    }
    if workflow.is_main_process:
        check_limit(
            workflow.global_resources.get("gpu").value,
            {run: gpus_of_jobs(values) for run, values in RUNS.items() if ON_GPU[run]},
        )
except InputError as error:
    raise WorkflowError(str(error))
RUN = config["run"]
# memory, time and disk of the jobs
NEEDS = Requests({run: Sizes(values, ON_GPU[run]) for run, values in RUNS.items()}, RUN)
if workflow.is_main_process:
    remember()
if workflow.is_main_process and not workflow.dryrun and hold():
    print("alma: the last run was killed and left its lock; it is removed")
if not install_cutoff():
    print("alma: this Snakemake has no place for the early cut-off; unchanged results may be made again")
if not install_pacing():
    print(
        "alma: this Snakemake has no place for the pacing of its scheduler; long runs will cost it more time"
    )
if not install_planning():
    print("alma: this Snakemake has no place for what makes plans cheaper; long plans take more time")
if workflow.is_main_process:
    install_unchanged(workflow, [config, RUNS, CODE, ON_GPU])
CONDA = "../envs/cuda.yaml" if any(ON_GPU.values()) else "../envs/cpu.yaml"


def cfg(wildcards, *path):
    """Config value of the run that a job belongs to (wildcards or a name): cfg(w, "judge", "min_mass")."""
    value = RUNS[getattr(wildcards, "run", wildcards)]
    for key in path:
        value = value[key]
    return value


def seed_of(wildcards, part):
    """Seed of a part of the config (training, judge, sampling): its own, or that of the run."""
    seed = cfg(wildcards, part, "seed")
    return cfg(wildcards, "seed") if seed is None else seed


# what a rule is made of


def from_config(*path):
    """Function of the wildcards that looks up the config of the job's run: from_config("judge", "shots")."""
    return lambda w: cfg(w, *path)


def from_run(files):
    """Input function: artifacts of the job's run, each from the run that makes it.

    `files` is a path with wildcards, as an output is written, or a function of the wildcards that gives
    paths. A variant takes from the run that it inherits from whatever is the same there
    (alma.workflow.variants). Weights count by their SHA256SUMS, not by their time stamp: they are too
    large to hash at each job.
    """

    def source(path):
        path = SHARING.source(path)
        return ancient(path) if Path(path).name == "model.safetensors" else path

    def own(w):
        return files(w) if callable(files) else files.format(**dict(w.items()))

    def found(w):
        paths = own(w)
        return source(paths) if isinstance(paths, str) else [source(path) for path in paths]

    found.own = own
    return found


def from_user(files):
    """Input function: files that no rule makes, read where they lie, also where the results lie in a storage.

    `files` is a function of the wildcards that gives paths.
    """
    return lambda w: [local(path) for path in files(w)]


def spec(script, *parts, threads=1, **values):
    """The one param of a rule that Snakemake compares: its narrow config, its threads, a hash of its code.

    Args:
        script: its name, which is also the rule's.
        parts: functions of the wildcards that give several values by name.
        threads: CPU threads of the job; the rule's `threads: as_in_spec` takes them from here.
        values: what the script's `main` gets, or functions of the wildcards that give it.

    Returns:
        Function of the wildcards that gives sorted JSON. Snakemake compares params without their names
        and in any order; one string is exact.
    """

    def found(w):
        given = {name: value for part in parts for name, value in part(w).items()} | values
        known = {name: value(w) if callable(value) else value for name, value in given.items()}
        cores = threads(w) if callable(threads) else threads
        facts = {"script": f"{script}.py", "code": CODE[script], "threads": cores, "config": known}
        return json.dumps(facts, sort_keys=True)

    return found


def uncompared(**values):
    """The other param of a rule: what its job needs and what changes no result, by name.

    Snakemake does not compare a param whose function takes `output`, so a change of these runs nothing.
    The job adds them to the config of the spec, into its parts too (alma.workflow.job).
    """
    return lambda w, output: {name: value(w) if callable(value) else value for name, value in values.items()}


def as_in_spec(w, rulename):
    """Threads of a rule: those of its spec, since another number adds up floats in another order."""
    return json.loads(workflow.get_rule(rulename).params.spec(w))["threads"]


# how the engine runs its requests side by side: on a CPU a text does not depend on it (tested)
BATCHING = ("max_num_seqs", "kv_cache_gib", "gpu_memory_utilization", "save_responses")


def engine(w):
    """The engine's part of a spec; `threads` travels beside it."""
    return {key: value for key, value in cfg(w, "engine").items() if key not in ("threads", *BATCHING)}


def batching(w):
    return {key: cfg(w, "engine", key) for key in BATCHING}


# paths


def model_files(run, checkpoint):
    """Files of a checkpoint, as inputs; provenance.json is left out, since it holds the time."""
    return [f"results/{run}/models/{checkpoint}/{name}" for name in MODEL_FILES]


def model(checkpoint):
    """Input function: the files of a checkpoint, whose name may hold wildcards."""
    return from_run(lambda w: model_files(w.run, checkpoint.format(**dict(w.items()))))


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


def round_files(run, round_, kind, shard=None):
    """All `samples` or `scores` files of a round, or of one shard of it."""
    return [
        f"results/{run}/rounds/{round_}/{kind}/{name}/{s}-{b}.parquet"
        for s in (shards(run) if shard is None else [shard])
        for b in blocks(run)
        for name in sampled_checkpoints(run, int(round_))
    ]


SHARING = Sharing(workflow, PARENTS, lambda run: results_of(run))  # results_of: rules/report.smk


# resources


def one_gpu(w):
    """GPUs of a job that computes on one: the profile limits how many all jobs use at the same time."""
    return int(ON_GPU[w.run])


def engine_gpus(w):
    """GPUs of a job with an engine, which spreads one model over so many."""
    return one_gpu(w) * cfg(w, "engine", "tensor_parallel_size")


def begin():
    """Before the first job, behind Snakemake's lock: no other run is alive in this folder."""
    probe_cutoff(getattr(workflow, "dag", None))
    try:
        run_plan.begin(workflow, config, CODE)
    except InputError as error:
        raise WorkflowError(str(error))
    if not any(ON_GPU.values()):
        begin_warm_start(workflow)
    print_summary("start")


def print_summary(when):
    """What a user reads before and after the jobs; a failure here never fails the run."""
    stored = workflow.storage_settings.default_storage_prefix
    if stored:  # nothing is left here to sum up
        print(f"alma: run '{RUN}'; results and logs go to {stored}/results/{RUN}/")
        return
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "summary.py"), when, RUN, final_checkpoint(RUN)], check=False
    )
