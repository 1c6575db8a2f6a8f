"""Training on several GPUs, with two processes on a CPU: same steps, same loss, same bytes after a kill."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import in_processes
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st
from test_training import TRAINING, judged, pairs, preferences, read_curve

from alma.checkpoints import MODEL_FILES, load_model
from alma.errors import InputError
from alma.files import sha256_of
from alma.judge_training import human_ratings, judge_conversations, rating_targets, rating_terms
from alma.sharded import fsdp_arguments, micro_batches, precision
from alma.training import (
    arguments,
    check_attention,
    flat_row,
    takes_rows,
    total_steps,
    train_preferences,
    train_supervised,
)
from alma.training_data import sft_examples
from alma.workflow import resume

EOS = 2  # <|im_end|> of the tiny checkpoint


# steps and arguments


def steps_of(batches, accumulate):
    """Examples of each step, per process: micro-batches taken `accumulate` at a time."""
    return [batches[i : i + accumulate] for i in range(0, len(batches), accumulate)]


@given(st.integers(1, 60), st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 3, 4, 8]))
def test_a_step_has_the_same_examples_on_any_number_of_gpus(examples, micro, each, gpus):
    training = TRAINING | {"micro_batch_size": micro, "batch_size": micro * each * gpus, "epochs": 1}
    order = [(7 * i) % 61 for i in range(examples)]

    def accumulated(processes):
        values = arguments(training, steps=1, seed=0, device="cpu", folder=Path("x"), processes=processes)
        assert values["per_device_train_batch_size"] == micro
        return values["gradient_accumulation_steps"]

    alone = steps_of(micro_batches(order, micro, 1, 0), accumulated(1))
    ranks = [steps_of(micro_batches(order, micro, gpus, rank), accumulated(gpus)) for rank in range(gpus)]
    assert len(alone) == total_steps(examples, training)
    for rank in ranks:  # all take part in every step, and in every forward pass of it
        assert [len(step) for step in rank] == [len(step) for step in ranks[0]]
    together = [
        sorted(tuple(batch) for rank in step for batch in rank if batch) for step in zip(*ranks, strict=True)
    ]
    assert together == [sorted(map(tuple, step)) for step in alone]


def test_one_gpu_and_a_cpu_have_no_arguments_of_fsdp():
    values = {"steps": 10, "seed": 0, "folder": Path("x")}
    for device in ("cpu", "cuda"):
        one = arguments(TRAINING, device=device, **values)
        assert not {"fsdp", "fsdp_config"} & set(one)
        two = arguments(TRAINING, device=device, processes=2, **values)
        changed = {"gradient_accumulation_steps", "gradient_checkpointing", "fsdp", "fsdp_config"}
        assert {key for key in two if key not in one or one[key] != two[key]} <= changed
        assert two["bf16"] == (device == "cuda") and two["gradient_accumulation_steps"] == 1


@pytest.mark.slow
def test_trl_makes_fsdp2_of_the_arguments(tmp_path):
    import torch
    from trl import DPOConfig, SFTConfig

    values = arguments(TRAINING, steps=9, seed=0, device="cpu", folder=tmp_path, processes=2)
    for kind, more in ((SFTConfig, {"padding_free": True}), (DPOConfig, {"precompute_ref_log_probs": True})):
        plugin = kind(**values, **more).fsdp_plugin_args
        assert plugin["fsdp_version"] == 2 and plugin["activation_checkpointing"] is True
        assert plugin["state_dict_type"] == "SHARDED_STATE_DICT"
        assert plugin["cpu_ram_efficient_loading"] is True and plugin["reshard_after_forward"] is True
    assert not fsdp_arguments()["gradient_checkpointing"]  # transformers refuses both
    half = precision("cuda")
    assert (half.param_dtype, half.reduce_dtype) == (torch.bfloat16, torch.float32)
    assert half.output_dtype is None  # log-probabilities are not rounded
    assert precision("cpu") is None


@pytest.mark.slow
def test_attention_that_is_not_there_is_refused(monkeypatch):
    check_attention(TRAINING)
    check_attention(TRAINING | {"attention": "sdpa"})
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: False)
    with pytest.raises(InputError, match=r"training\.attention: found flash_attention_2.*use sdpa"):
        check_attention(TRAINING | {"attention": "flash_attention_2"})


def test_the_rows_of_a_gpu_give_the_loss_of_single_examples(tiny_checkpoint):
    from alma.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tiny_checkpoint)
    examples = list(sft_examples(tokenizer, pairs(4), [EOS], 500, "training.sft"))
    model = load_model(tiny_checkpoint, "float32")
    assert takes_rows(model, examples, flat_row)

    def mixed(examples):  # all positions as of one example: each sees those before it
        row = flat_row(examples)
        return row | {"position_ids": row["position_ids"].new_tensor([range(len(row["input_ids"][0]))])}

    assert not takes_rows(model, examples, mixed)


# two processes


def several(test):
    """Of tests that start processes twice, each of which imports torch: some minutes of a busy machine."""
    return pytest.mark.services(pytest.mark.timeout(3600)(test))


KILLED = """
import json, os, signal, sys
from pathlib import Path
import alma.workflow.resume
from alma.training import train_supervised

def kill_the_job_after_the_first_save(folder):
    whole(folder)
    Path(folder).with_name("pids").write_text(f"{os.getpid()}")
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()

whole = alma.workflow.resume.mark_complete
alma.workflow.resume.mark_complete = kill_the_job_after_the_first_save
if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    train_supervised(**values, device="cpu", key="training.sft", cpu_processes=2)
"""


def gone(pid, seconds=60):
    """Whether a process ends within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, tmp_path_factory):
    """(checkpoint, curve) by name, of trainings in one process (name-1) and in two (name-2).

    Among them `killed-2`, which goes on from a job that was killed after its first save.
    """
    home = tmp_path_factory.mktemp("sharded")
    seed = [0, "sft", 0]
    killed = {
        "model": str(tiny_checkpoint),
        "rows": pairs(10),
        "checkpoint": str(home / "models" / "killed-2"),
        "curve": str(home / "killed-2.csv"),
        "seed": seed,
        "training": TRAINING,
    }
    (home / "killed.py").write_text(KILLED)
    ended = subprocess.run(
        [sys.executable, str(home / "killed.py"), json.dumps(killed)],
        env=os.environ | {"PYTHONPATH": str(tiny_model.REPOSITORY / "scripts")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    saved = resume.resume_folder(killed["checkpoint"])
    assert gone(int((saved / "pids").read_text())), "a process outlived its job"
    (saved / "pids").unlink()
    (state,) = saved.glob("checkpoint-2")
    assert any(path.suffix == ".distcp" for path in state.rglob("*"))  # the state of each process
    assert not list(state.rglob("*.safetensors"))

    def start(name, processes, training, train=train_supervised, **values):
        train(
            tiny_checkpoint,
            checkpoint=home / "models" / f"{name}-{processes}",
            curve=home / f"{name}-{processes}.csv",
            seed=seed,
            device="cpu",
            training=TRAINING | training,
            cpu_processes=processes,
            **values,
        )

    def all_of(processes):
        start("sft", processes, {}, rows=pairs(10), key="training.sft")
        start("lora", processes, {"method": "lora"}, rows=pairs(9), key="training.sft")
        dpo = {"learning_rate": 1e-4}
        start("dpo", processes, dpo, train_preferences, rows=preferences(10), key="training.dpo", beta=0.1)
        rows = judge_conversations(human_ratings(judged(9)), [0])
        judge = {"rows": rows, "key": "judge.training", "shuffle": False, "soft": rating_targets}
        judge["terms"] = rating_terms({"ranking": 0.5, "squared_error": 0.1})
        start("judge", processes, {"max_length": 400}, **judge)

    all_of(1)
    from alma.sharded import launch

    with pytest.MonkeyPatch.context() as patch:
        works = in_processes.collect(patch)
        start("killed", 2, {}, rows=pairs(10), key="training.sft")
        all_of(2)
    launch(2, in_processes.run_all, works, device="cpu", folder=home)
    return {
        path.name: (path, read_curve(home / f"{path.name}.csv"))
        for path in (home / "models").iterdir()
        if path.name != ".resume"
    }


@several
@pytest.mark.parametrize("name", ["sft", "lora", "dpo", "judge"])
def test_two_processes_have_the_losses_and_the_weights_of_one(trained, name):
    (one, alone), (two, together) = trained[f"{name}-1"], trained[f"{name}-2"]
    assert [row["step"] for row in together] == [row["step"] for row in alone]
    for a, b in zip(alone, together, strict=True):
        assert float(b["loss"]) == pytest.approx(float(a["loss"]), rel=1e-4)
        assert b["learning_rate"] == a["learning_rate"]
    if name == "dpo":  # it starts at its reference
        assert float(together[0]["loss"]) == pytest.approx(math.log(2), abs=2e-6)
    assert sorted(path.name for path in two.iterdir()) == sorted(MODEL_FILES)
    wanted, found = load_model(one).state_dict(), load_model(two).state_dict()
    assert set(found) == set(wanted)
    for weight, value in wanted.items():
        assert found[weight].dtype == value.dtype
        assert (found[weight] - value).abs().max().item() < 1e-4


@several
def test_two_processes_that_were_killed_resume_to_the_same_bytes(trained):
    (killed, curve), (undisturbed, wanted) = trained["killed-2"], trained["sft-2"]
    assert curve == wanted
    weights = "model.safetensors"
    assert sha256_of(killed / weights) == sha256_of(undisturbed / weights)
