"""Training curves for TensorBoard, Weights & Biases and trackio (`training.report_to`)."""

import struct
import sys
from types import SimpleNamespace

import pytest
import train_sft
from test_training import TRAINING, Stopped, pairs, stop_after_a_save

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.files import sha256_of
from alma.tables import write_table
from alma.workflow import tracking


@pytest.mark.parametrize("name", tracking.PACKAGES)
def test_a_missing_package_is_named_with_its_command(name, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda package: None)
    (line,) = tracking.missing_packages([name])
    package = tracking.PACKAGES[name][0]
    assert line.startswith(f"training.report_to: found {name}, but the package {package} is not installed; ")
    assert f".venv/bin/python -m pip install {package})" in line
    with pytest.raises(InputError, match=name):
        tracking.attach(None, [name], None)


def test_a_tracker_whose_package_is_there_is_no_fault(monkeypatch):
    found = {"tensorboard", "wandb"}  # tensorboard's own package writes, too
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda package: package in found or None)
    assert tracking.missing_packages(["tensorboard", "wandb"]) == []
    assert len(tracking.missing_packages(["tensorboard", "trackio"])) == 1


@pytest.mark.parametrize(("mode", "key", "fits"), [("offline", False, True), ("online", True, True)])
def test_wandb_with_a_key_or_offline(monkeypatch, mode, key, fits):
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda prompt: key))
    monkeypatch.setenv("WANDB_MODE", mode)
    tracking._check_wandb_key()


def test_wandb_without_a_key_is_refused_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda prompt: False))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(InputError, match=r"training\.report_to: found wandb, but there is no key.*offline"):
        tracking._check_wandb_key()


def events(folder):
    """Events of a TensorBoard folder, file by file: records of length, checksum, bytes, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + length]))
            place += length + 16
    return found


def losses(folder):
    """Every training loss of a TensorBoard folder: (step, loss)."""
    return [
        (e.step, v.simple_value) for e in events(folder) for v in e.summary.value if v.tag == "train/loss"
    ]


def curve_of(rows):
    return [(row["step"], pytest.approx(row["loss"], abs=1e-3)) for row in rows]


@pytest.fixture
def train(tiny_checkpoint, tmp_path):
    """Train on ten pairs (five steps) in a run's folder; returns hash of the weights and curve."""
    write_table(tmp_path / "dataset.parquet", "dataset", pairs(10))

    def run(name, **changes):
        out, curve = tmp_path / "results/r/models" / name, tmp_path / f"{name}.csv"
        values = TRAINING | changes
        given = (tiny_checkpoint, tmp_path / "dataset.parquet", out, curve)
        train_sft.main(*given, seed=[0, "sft", 0], device="cpu", training=values)
        return sha256_of(out / "model.safetensors"), read_csv_table(curve, "training_curve")

    return run


def test_tensorboard_gets_the_curve_and_the_weights_stay(train, tmp_path):
    plain = train("plain")
    assert not (tmp_path / "results/r/logs").exists()
    folder = tmp_path / "results/r/logs/tensorboard/sft-0"
    for _ in range(2):  # the curve of a new training takes the place of the last one's
        assert train("sft-0", report_to=["tensorboard"]) == plain
        assert losses(folder) == curve_of(plain[1])


@pytest.mark.parametrize("before", [[], ["tensorboard"]])
def test_a_resumed_training_has_the_whole_curve(train, tmp_path, monkeypatch, capsys, before):
    plain = train("plain")
    stop_after_a_save(monkeypatch)
    with pytest.raises(Stopped):
        train("sft-0", report_to=before)
    assert train("sft-0", report_to=["tensorboard"]) == plain
    assert "resume: from step 2" in capsys.readouterr().out
    assert losses(tmp_path / "results/r/logs/tensorboard/sft-0") == curve_of(plain[1])
