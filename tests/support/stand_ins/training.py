"""Stand-in for TRL: the weights are a hash of what a training would depend on."""

import hashlib
import json
from pathlib import Path

from alma.checkpoints import MODEL_FILES
from alma.csv_tables import write_csv_table
from alma.files import sha256_of, write_text


def write_checkpoint(folder, *facts):
    """Files of a checkpoint whose weights stand for `facts`."""
    folder = Path(folder)
    for name in MODEL_FILES:
        text = name
        if name == "model.safetensors":
            # a function among the facts (which loss) counts by its name
            written = json.dumps(facts, sort_keys=True, default=lambda function: function.__name__)
            text = hashlib.sha256(written.encode()).hexdigest()
        write_text(folder / name, text)
    write_text(folder / "SHA256SUMS", "".join(f"{sha256_of(folder / n)}  {n}\n" for n in MODEL_FILES))


def train_supervised(model, rows, checkpoint, curve, *, seed, device, training, key, soft=None, **more):
    weights = (Path(model) / "model.safetensors").read_text()
    training = {name: value for name, value in training.items() if name not in ("save_steps", "report_to")}
    write_checkpoint(checkpoint, weights, rows, seed, training, more)
    loss = int((Path(checkpoint) / "model.safetensors").read_text()[:4], 16) / 2**16
    row = {"epoch": 1.0, "loss": loss, "learning_rate": 1.0, "tokens": 1}
    write_csv_table(curve, "training_curve", [{"step": step} | row for step in (1, 2)])


train_preferences = train_supervised
