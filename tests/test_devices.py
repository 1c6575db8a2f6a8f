"""Which jobs ask for GPUs, and that the machine which plans them has no say in it."""

import os
import sys

import pytest
import warm
import yaml
from rule_texts import ROOT

from alma.errors import InputError
from alma.workflow import devices
from alma.workflow.config import merge
from alma.workflow.plan import plan

TRAINING = {"train_sft", "train_judge_seed", "train_judge", "train_round", "fit_projection", "embed_prompts"}


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Function that puts an `nvidia-smi` which lists so many GPUs in front of the PATH."""

    def install(gpus):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        lines = [f"echo 'GPU {i}: a GPU (UUID: GPU-{i})'" for i in range(gpus)] or ["exit 9"]
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


@pytest.mark.parametrize("gpus", [0, 2])
@pytest.mark.parametrize(("build", "wanted"), [("2.13.0", True), ("2.13.0+cpu", False)])
def test_auto_follows_the_environment_wherever_it_is_planned(monkeypatch, smi, gpus, build, wanted):
    smi(gpus)
    monkeypatch.setattr(devices.metadata, "version", lambda name: build)
    for elsewhere in (False, True):
        assert devices.on_gpu("auto", elsewhere=elsewhere) is wanted
        assert devices.on_gpu("cuda", elsewhere=elsewhere) and not devices.on_gpu("cpu", elsewhere=elsewhere)


def test_auto_without_torch_beside_snakemake_asks_this_machine_or_refuses(monkeypatch, smi):
    monkeypatch.setattr(devices, "cuda_build", lambda: None)
    for gpus in (0, 2):
        smi(gpus)
        assert devices.on_gpu("auto") == (gpus > 0)
    with pytest.raises(InputError, match=r"engine\.device: found auto, expected cuda or cpu"):
        devices.on_gpu("auto", elsewhere=True)


def planned(home, values):
    """[(rule, gpu, conda file, spec)] of all jobs of the demonstration with changed values."""
    config = merge(yaml.safe_load((ROOT / "config.yaml").read_text()), values)
    (home / "my.yaml").write_text(yaml.safe_dump(config))
    with plan(home, "results/default/report.html", ["my.yaml"]) as dag:
        return sorted(
            (
                job.rule.name,
                job.resources.get("gpu", 0),
                os.path.basename(str(job.rule.conda_env)),
                job.params.spec,
            )
            for job in dag.jobs
            if getattr(job.params, "spec", None)
        )


def test_gpus_and_environment_of_every_job_come_from_the_config(tmp_path, monkeypatch, smi):
    monkeypatch.chdir(tmp_path)
    smi(0)
    gpus = {
        "engine": {"device": "cuda", "tensor_parallel_size": 4},
        "prompts": {"embedding_dimensions": 64},  # else there is nothing to fit
    }
    jobs = planned(tmp_path, gpus)
    assert {conda for _, _, conda, _ in jobs} == {"cuda.yaml"}
    assert {rule for rule, gpu, _, _ in jobs if gpu == 1} == TRAINING
    engines = {rule for rule, gpu, _, _ in jobs if gpu == 4}
    assert {"sample_responses", "score_responses", "synthesize_prompts"} <= engines
    assert {gpu for _, gpu, _, _ in jobs} == {0, 1, 4}
    smi(8)  # the same on a machine with GPUs
    assert planned(tmp_path, gpus) == jobs
    jobs = planned(tmp_path, {"engine": {"device": "cpu"}})
    assert {(gpu, conda) for _, gpu, conda, _ in jobs} == {(0, "cpu.yaml")}


def test_a_training_asks_for_its_gpus_and_runs_again_for_none(tmp_path, monkeypatch):
    """Their number decides the rounding of a GPU alone, so it is in no spec."""
    monkeypatch.chdir(tmp_path)
    one = planned(tmp_path, {"engine": {"device": "cuda"}})
    many = planned(tmp_path, {"engine": {"device": "cuda"}, "training": {"sft": {"gpus": 2}}})
    spread = [job for job in many if job[1] == 2]
    assert {rule for rule, *_ in spread} == {"train_sft", "train_round"}
    assert sorted((job[0], job[3]) for job in one) == sorted((job[0], job[3]) for job in many)
    assert {gpu for _, gpu, _, _ in planned(tmp_path, {"training": {"sft": {"gpus": 2}}})} == {0}


def test_a_run_whose_jobs_need_more_gpus_than_it_may_use_is_refused(tmp_path):
    """Snakemake would lower the job's resource to the limit without a word."""
    config = merge(
        yaml.safe_load((ROOT / "config.yaml").read_text()),
        {"engine": {"device": "cuda", "tensor_parallel_size": 2}},
    )
    for key, counts in (("training.sft.gpus", [8]), ("engine.tensor_parallel_size", [4, 2])):
        with pytest.raises(InputError, match=rf"{key} of r: found {counts[0]}, .* 2 GPUs .*gpu={counts[0]} "):
            devices.check_limit(2, {"r": dict(zip([key, "other"], counts, strict=False))})
    devices.check_limit(None, {"r": {"training.sft.gpus": 8}})
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--configfile", "my.yaml"]
    done = warm.run(command, cwd=tmp_path)
    assert done.returncode == 1
    assert "engine.tensor_parallel_size of default: found 2" in done.stderr + done.stdout
    assert "--resources gpu=2" in done.stderr + done.stdout
