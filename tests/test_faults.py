"""After a fault the same command goes on: nothing finished is lost, nothing half-made is used.

Each test ends in the same bytes as an undisturbed run.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from fast_run import SMALL, FastRun, merged
from rule_texts import written_rules

pytestmark = pytest.mark.slow

# Every rule of a run: none needs tables of ablations, an annotation, a card, an outside judge, other tests.
NOT_NEEDED = ("ablations", "annotation", "outside_judges", "cards", "reward_bench", "lm_eval")
RULES = [rule.name for rule in written_rules() if rule.stage not in NOT_NEEDED]
# Rules whose jobs ask their engine for more than five texts here.
IN_PARTS = {
    "synthesize_prompts",
    "sample_responses",
    "score_responses",
    "sample_evaluation",
    "score_evaluation",
}


def same(run, other, target=None):
    """Equal artifacts; those of a part of the run where that was asked for by a target."""
    mine, theirs = run.artifacts(), other.artifacts()
    if target:
        assert target.removeprefix("results/") in mine and set(mine) <= set(theirs)
    else:
        assert sorted(mine) == sorted(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []


def wait_for(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_the_list_of_rules_is_complete(finished_run):
    ran = {name.split("/", 1)[1].split("/")[0].removesuffix(".log") for name in finished_run.logs()}
    assert ran == set(RULES)


def test_a_job_of_any_rule_may_be_killed_in_the_middle_of_a_write(finished_run, tmp_path):
    """The first job of each rule is killed while it writes, and the same command runs again.

    With --keep-going, so that one run has several of them killed. A job with an engine is killed in its
    second part, where it has several.
    """
    run = FastRun.make(tmp_path / "run")
    run.config = merged(SMALL, {"engine": {"save_responses": 5}})
    while True:
        before, finished = run.logs(), run.finished()
        done = run.run("--keep-going", TEST_KILL="each:1")
        again = {name for name, stamp in run.logs().items() if before.get(name, stamp) != stamp}
        assert not again & finished, "a finished job ran again"
        if done.returncode == 0:
            break
        assert "SIGKILL" in done.stdout + done.stderr, (done.stdout + done.stderr)[-3000:]
    assert {path.name for path in (run.folder / "killed").iterdir()} == set(RULES)
    same(run, finished_run)
    logs = {path: path.read_text() for path in run.path("logs").rglob("*.log")}
    used = {
        path.relative_to(run.path("logs")).parts[0] for path, text in logs.items() if "parts: 1 of" in text
    }
    assert used >= IN_PARTS, "killed after a part, they did not use it"
    assert not list(run.folder.glob("results/**/.parts"))


def test_training_killed_between_two_files_leaves_no_model_that_looks_whole(finished_run, tmp_path):
    run = FastRun.make(tmp_path / "run")
    target = "results/small/models/sft-0/config.json"
    done = run.run(target, TEST_KILL="train_sft:4")
    assert done.returncode != 0
    left = [p.name for p in run.path("models/sft-0").glob("*")]
    assert "provenance.json" not in left
    run.finish(target)
    same(run, finished_run, "results/small/models/sft-0/model.safetensors")


def test_snakemake_itself_may_be_killed(finished_run, tmp_path):
    """Early in the run, and once more when it has gone on."""
    run = FastRun.make(tmp_path / "run")
    for jobs in (3, 20):
        process = run.start()
        while len(run.logs()) < jobs:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert any((run.folder / ".snakemake" / "locks").iterdir()), "the lock was left"
    printed = run.finish()
    assert "the last run was killed and left its lock" in printed
    same(run, finished_run)


def test_jobs_end_with_the_snakemake_that_started_them(tmp_path):
    """A killed run's training must not go on beside the next run's."""
    run = FastRun.make(tmp_path / "run")
    path = run.folder / "scripts" / "alma" / "training.py"
    path.write_text(
        path.read_text() + "\n\nimport time\n\n_now = train_supervised\n\n\n"
        "def train_supervised(*a, **k):\n    time.sleep(600)\n    _now(*a, **k)\n"
    )
    process = run.start()
    log = run.path("logs/train_sft/0.log")
    wait_for(log.exists)

    def jobs():
        found = subprocess.run(
            ["pgrep", "-f", f"{run.folder}/.snakemake/scripts"], capture_output=True, text=True
        )
        return found.stdout.split()

    wait_for(jobs)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not jobs(), 20)
    assert "the run that started this job was ended" in log.read_text()


def test_a_second_run_beside_a_live_one_is_refused(tmp_path):
    run = FastRun.make(tmp_path / "run")
    target = "results/small/rounds/2/dataset.parquet"
    process = run.start(target)
    wait_for(lambda: len(run.logs()) >= 2)
    second = run.run(target)
    assert second.returncode != 0 and "unlock" in second.stdout + second.stderr
    assert process.wait() == 0, "the first run was not disturbed"


def test_a_full_disk_stops_the_run_and_costs_nothing_finished(finished_run, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        run = FastRun.make(tmp_path / "run")
        (run.folder / "results").symlink_to(disk)
        run.finish("results/small/models/sft-0/config.json")
        finished = run.logs()
        room = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(room - 60_000))
        target = "results/small/models/round-2/model.safetensors"
        done = run.run(target)
        assert done.returncode != 0
        assert re.search(r"[Nn]o space left", done.stdout + done.stderr)
        (disk / "ballast").unlink()
        run.finish(target)
        now = run.logs()
        assert all(now[name] == stamp for name, stamp in finished.items()), "a finished job ran again"
        same(run, finished_run, target)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


# File, damage, the rule that makes it, and one that reads it.
DAMAGE = [
    ("rounds/2/scores/sft-0/0-0.parquet", cut, "score_responses", "select_responses"),
    ("rounds/2/selected/0.parquet", flip, "select_responses", "build_dataset"),
    ("prompts/unique/0.parquet", cut, "unique_prompts", "embed_prompts"),
    ("models/judge/model.safetensors", flip, "train_judge", "score_responses"),
    ("models/sft-0/SHA256SUMS", cut, "train_sft", "sample_responses"),
]


@pytest.mark.parametrize(
    ("name", "damage", "rule", "reader"), DAMAGE, ids=[f"{d[1].__name__}-{d[2]}" for d in DAMAGE]
)
def test_a_damaged_input_is_named_with_the_command_that_rebuilds_it(
    finished_run, tmp_path, name, damage, rule, reader
):
    run = finished_run.copy(tmp_path / "run")
    damage(run.path(name))
    done = run.run("--forcerun", reader)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"results/small/{name}" in printed and f"rule {rule}" in printed
    command = re.search(r"snakemake --cores all (--force .*)", printed).group(1).split()
    run.finish(*[word for word in command if word != "--configfile"])
    run.finish()
    same(run, finished_run)


LOST = {
    "seeds/judge_benchmark.parquet": "read_seeds",
    "models/base/config.json": "base_model",
    "judge/samples/sft-0.parquet": "sample_distillation/sft-0",
    "judge/distillation.parquet": "score_distillation",
    "judge/heldout/base.parquet": "score_heldout/base",
    "rounds/2/scores/sft-0/0-0.parquet": "score_responses/2-sft-0-0-0",
    "rounds/3/preferences.parquet": "build_dataset/3",
    "tables/rounds/2/length.csv": "measure_round/2",
    "tables/training/round-2.csv": "train_round/2",
    "tables/candidates.csv": "list_candidates",
}


def test_lost_files_between_are_made_again_and_nothing_behind_them(finished_run, tmp_path):
    run = finished_run.copy(tmp_path / "run")
    for lost in LOST:
        run.path(lost).unlink()
    _, ran, _ = run.update()
    assert ran == {f"small/{job}" for job in LOST.values()}
    same(run, finished_run)


def test_a_missing_file_of_the_final_model_is_made_again(finished_run, tmp_path):
    run = finished_run.copy(tmp_path / "run")
    run.path("models/round-3/tokenizer.json").unlink()
    _, ran, _ = run.update()
    assert ran == {"small/train_round/3"}, "and nothing behind it, since the model is the same"
    same(run, finished_run)


def test_a_run_whose_prompts_will_not_last_is_refused_before_it_samples(tmp_path):
    run = FastRun.make(tmp_path / "run")
    target = "results/small/rounds/2/samples/sft-0/0-0.parquet"
    run.config = merged(SMALL, {"rounds": 40, "prompts_per_round": 8, "prompts_per_shard": 8})
    done = run.run(target)
    assert done.returncode != 0
    assert "prompts_per_round: found 8 with rounds: 40" in done.stdout + done.stderr
    assert not run.path("logs/sample_responses").exists()
    run.config = SMALL
    run.finish(target)
    run.config = merged(SMALL, {"rounds": 40})
    prompts = "results/small/rounds/40/prompts/0.parquet"
    done = run.run(prompts)
    assert done.returncode != 0 and "prompts_per_round: found 3 with rounds: 40" in done.stdout + done.stderr
    assert run.update(target)[1] == set(), "what is there is left alone"


def test_an_edit_during_a_run_stops_it_with_a_message(finished_run, tmp_path):
    run = FastRun.make(tmp_path / "run")
    target = "results/small/models/round-2/model.safetensors"
    process = run.start(target)
    wait_for(lambda: len(run.logs()) >= 3)
    path = run.folder / "scripts" / "train_round.py"
    text = path.read_text()
    path.write_text(text.replace("    from alma.tables import", "    print(1)\n    from alma.tables import"))
    assert process.wait() != 0
    assert "was edited after this run started" in (run.folder / "printed.txt").read_text()
    path.write_text(text)
    run.finish(target)
    same(run, finished_run, target)
