"""The workflow on a real Slurm, on the loopback of this machine: whole, and after the faults of a cluster.

`make test-slurm` installs Slurm where it may (envs/slurm.sh) and runs this. Each test ends in the bytes of
a run without Slurm. Models are stand-ins; Snakemake, its executor plugin, profiles/slurm and Slurm are real.
"""

import contextlib
import os
import signal
import subprocess
import time

import pytest
import slurm_cluster
import yaml
from fast_run import ROOT, SMALL, FastRun, merged

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm_cluster.missing()),
        reason=f"Slurm is not installed ({', '.join(slurm_cluster.missing())}): bash envs/slurm.sh as root",
    ),
]

PROFILE = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
BASE = "models/base/config.json"
SFT = "results/small/models/sft-0/config.json"
# Groups beside those of the profile, for the whole run: each is one job, which starts Snakemake twice.
GROUPS = {
    "prompts": (
        *("synthesize_prompts", "filter_prompts", "compare_prompts", "drop_duplicates", "unique_prompts"),
        *(
            "fit_projection",
            "embed_prompts",
            "find_cells",
            "assign_cells",
            "share_clusters",
            "cluster_cells",
            "cluster_prompts",
            "deal_prompts",
            "check_rounds",
            "gather_prompts",
            "round_prompts",
        ),
    ),
    "judge": ("train_judge_seed", "sample_distillation", "score_distillation", "train_judge"),
    "measure": (
        *("score_heldout", "sample_selection", "score_selection", "measure_selection", "evaluate_judge"),
        "check_judge",
    ),
    "round": ("sample_responses", "score_responses", "select_responses", "build_dataset"),
    "evaluate": ("sample_evaluation", "score_evaluation"),
}

# The plugin asks Slurm 40 s after the start and then ever less often; here it asks every second.
POLLS = """
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
"""

# The training says who runs it, and waits while there is a file `hold`.
HOLD = """

import os as _os
import time as _time

_train = train_supervised


def _say(what):
    with open("writers.txt", "a") as handle:
        handle.write(f"{what} {_os.environ.get('SLURM_JOB_ID', 'local')} {_os.getpid()}\\n")


def train_supervised(*arguments, **named):
    _say("begin")
    while _os.path.exists("hold"):
        _time.sleep(0.1)
    _train(*arguments, **named)
    _say("end")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The cluster. Its second node sees no cache of Snakemake, like one with a home folder of its own."""
    folder = tmp_path_factory.mktemp("slurm")
    cache = folder / "cache"
    cache.mkdir()
    hidden = {"cpu2": cache} if os.geteuid() == 0 else {}
    with slurm_cluster.Cluster(folder / "c", hidden) as found:
        yield found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run without Slurm up to the data of the SFT; the tests work on copies."""
    run = FastRun.make(tmp_path_factory.mktemp("run") / "prepared")
    with (run.folder / "Snakefile").open("a") as handle:
        handle.write(POLLS)
    training = run.folder / "scripts" / "alma" / "training.py"
    training.write_text(training.read_text() + HOLD)
    run.finish(*(f"results/small/{name}" for name in ("seeds/checked.txt", "rounds/1/dataset.parquet", BASE)))
    return run


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The SFT without Slurm."""
    run = prepared.copy(tmp_path_factory.mktemp("run") / "undisturbed")
    run.finish(SFT)
    return run


def options(*more):
    """Of every run: profiles/slurm as it is, and what holds for this cluster alone."""
    return (
        *more,
        *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10", "--jobs", "3"),
    )


def on_slurm(cluster):
    """Environment of a run on the cluster."""
    return cluster.environment() | {"XDG_CACHE_HOME": str(cluster.folder.parent / "cache")}


def printed(run):
    return (run.folder / "printed.txt").read_text()


def wait_for(condition, process=None, seconds=900.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.poll() is None, "the run has ended"
        time.sleep(0.1)
    return found


def same_model(run, undisturbed, name="sft-0"):
    mine, theirs = run.artifacts(), undisturbed.artifacts()
    files = [path for path in theirs if path.startswith(f"small/models/{name}/")]
    assert f"small/models/{name}/model.safetensors" in files
    assert [path for path in files if mine.get(path) != theirs[path]] == []


class Held:
    """A run whose training waits in Slurm; `go` lets it go on."""

    def __init__(self, run, cluster):
        self.run, self.cluster, self.process = run, cluster, None
        (run.folder / "hold").touch()

    def start(self, *arguments):
        self.process = self.run.start(*options(*arguments), **on_slurm(self.cluster))

    def writers(self):
        """[(begin or end, id of the job, id of the process), ...]"""
        path = self.run.folder / "writers.txt"
        return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []

    def begun(self, count=1):
        """Wait until the training has begun so often; the last one's job and process."""

        def last():
            found = [line for line in self.writers() if line[0] == "begin"]
            return found[count - 1] if len(found) >= count else None

        return wait_for(last, self.process)[1:]

    def go(self):
        """Let the training go on; Snakemake must end well."""
        (self.run.folder / "hold").unlink()
        status = self.process.wait(900)
        assert status == 0, printed(self.run)[-5000:]


@contextlib.contextmanager
def held(prepared, cluster, folder):
    one = Held(prepared.copy(folder), cluster)
    try:
        yield one
    finally:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_the_whole_run(cluster, undisturbed, prepared, tmp_path):
    """Every rule through Slurm, many of them in groups, so that it takes minutes."""
    undisturbed.finish()
    run = prepared.copy(tmp_path / "run")
    groups = PROFILE["groups"] + [f"{rule}={name}" for name, rules in GROUPS.items() for rule in rules]
    done = run.run(*options("--groups", *groups), **on_slurm(cluster))
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    mine, theirs = run.artifacts(), undisturbed.artifacts()
    assert sorted(mine) == sorted(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []
    again = run.run("-n", "--workflow-profile", "profiles/default")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_canceled_job_is_submitted_again(cluster, undisturbed, prepared, tmp_path):
    with held(prepared, cluster, tmp_path / "run") as one:
        one.start(SFT)
        job, _ = one.begun()
        cluster.ask("scancel", job)
        again, _ = one.begun(2)
        one.go()
    assert again != job
    assert cluster.jobs()[job][0] == "CANCELLED"
    same_model(one.run, undisturbed)


def test_a_preempted_job_goes_back_into_the_queue(cluster, undisturbed, prepared, tmp_path):
    with held(prepared, cluster, tmp_path / "run") as one:
        one.start(SFT, "--default-resources", "slurm_partition=low")
        job, process = one.begun()
        node = cluster.ask("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        cluster.ask(
            "sbatch",
            *(
                "--partition",
                "cpu",
                "--nodelist",
                node,
                "--exclusive",
                "--output=/dev/null",
                "--wrap",
                "sleep 5",
            ),
        )
        again, other = one.begun(2)
        one.go()
    assert (again, other != process) == (job, True), "Slurm starts it again itself, under its number"
    same_model(one.run, undisturbed)


def test_a_restart_of_the_controller_is_waited_for(cluster, undisturbed, prepared, tmp_path):
    with held(prepared, cluster, tmp_path / "run") as one:
        one.start(SFT)
        one.begun()
        cluster.kill_controller()
        time.sleep(3)  # several questions for the job's state go unanswered
        cluster.start_controller()
        wait_for(cluster.states)
        one.go()
    assert [line[0] for line in one.writers()] == ["begin", "end"]
    same_model(one.run, undisturbed)


def test_jobs_of_a_killed_run_are_canceled_before_the_next_submits_any(
    cluster, undisturbed, prepared, tmp_path
):
    with held(prepared, cluster, tmp_path / "run") as one:
        one.start(SFT)
        job, process = one.begun()
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        time.sleep(1)
        assert cluster.jobs()[job][0] == "RUNNING" and os.path.exists(f"/proc/{process}"), (
            "it outlives the run"
        )
        # A job of the same name in another folder is another run's.
        name = cluster.jobs()[job][1]
        other = cluster.ask(
            *("sbatch", "--parsable", "--job-name", name, "--output=/dev/null", "-D", str(tmp_path)),
            *("--wrap", "sleep 600"),
        ).strip()
        one.start(SFT)
        one.begun(2)
        assert not os.path.exists(f"/proc/{process}"), "never two writers"
        assert cluster.jobs()[job][0] == "CANCELLED"
        assert cluster.jobs()[other][0] in ("PENDING", "RUNNING")
        cluster.ask("scancel", other)
        one.go()
    assert f"left 1 jobs in Slurm's queue; they are canceled ({job})" in printed(one.run)
    assert [line[0] for line in one.writers()] == ["begin", "begin", "end"]
    same_model(one.run, undisturbed)


def test_an_edit_during_the_run_stops_the_job_that_it_concerns(cluster, prepared, tmp_path):
    target = "results/small/judge/samples/sft-0.parquet"
    with held(prepared, cluster, tmp_path / "run") as one:
        one.start(target, "--retries", "0")
        one.begun()
        script = one.run.folder / "scripts" / "sample_distillation.py"
        script.write_text(script.read_text() + "\nEDITED = 1\n")
        (one.run.folder / "my.yaml").write_text(yaml.safe_dump(merged(SMALL, {"seed": 7})))
        (one.run.folder / "hold").unlink()
        assert one.process.wait(900) != 0
    assert "was edited after this run started" in printed(one.run)
    assert not (one.run.folder / target).exists()
    one.run.config = SMALL
    assert one.run.update(SFT)[1] == set(), "what was finished is of the config that the run began with"


@pytest.mark.skipif(os.geteuid() != 0, reason="to hide a folder from a node needs root")
def test_a_node_without_the_cache_of_the_login_node(cluster, undisturbed, prepared, tmp_path):
    run = prepared.copy(tmp_path / "run")
    done = run.run(*options(SFT, "--default-resources", "slurm_extra='--nodelist=cpu2'"), **on_slurm(cluster))
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    same_model(run, undisturbed)


def test_a_job_with_two_gpus_runs_its_script_once_and_holds_both(cluster, prepared, tmp_path):
    """The executor plugin ran a script once per GPU before 2.7.1 (its issues 316 and 459)."""
    run = prepared.copy(tmp_path / "run")
    run.config = merged(SMALL, {"engine": {"device": "cuda", "tensor_parallel_size": 2}})
    script = run.folder / "scripts" / "score_heldout.py"
    script.write_text(
        script.read_text()
        + "\nimport os\n\nwith open('runs.txt', 'a') as handle:\n"
        + "    print(os.environ['CUDA_VISIBLE_DEVICES'], file=handle)\n"
    )
    target = "results/small/judge/heldout/base.parquet"
    run.run("--touch", *(f"results/small/{BASE}", "results/small/seeds/judge_heldout.parquet"))
    done = run.run(
        *options(target, "--slurm-partition-config", "profiles/slurm/partitions.yaml"), **on_slurm(cluster)
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert (run.folder / "runs.txt").read_text() == "0,1\n"


def test_a_run_that_cannot_ask_slurm_submits_nothing(cluster, prepared, tmp_path):
    """It cannot know whether the last run left jobs."""
    run = prepared.copy(tmp_path / "run")
    silent = tmp_path / "bin"
    silent.mkdir()
    (silent / "squeue").write_text("#!/bin/sh\necho no answer >&2\nexit 1\n")
    (silent / "squeue").chmod(0o755)
    environment = on_slurm(cluster)
    environment["PATH"] = f"{silent}{os.pathsep}{environment['PATH']}"
    done = run.run(*options(SFT), **environment)
    assert done.returncode != 0
    assert "squeue failed: no answer" in done.stdout + done.stderr
    assert "has been submitted" not in done.stdout + done.stderr


def test_the_cluster_is_stopped_without_a_trace(tmp_path):
    with slurm_cluster.Cluster(tmp_path / "c") as one:
        ids = [process.pid for process in one.processes.values()]
        one.ask("sbatch", "--output=/dev/null", "--wrap", "sleep 600")
    assert [number for number in ids if os.path.exists(f"/proc/{number}")] == []
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "c")], capture_output=True, text=True).stdout
    assert left == ""
