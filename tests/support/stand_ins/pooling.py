"""Stand-in for hidden states: a hash of the text and the weights."""

import hashlib
from pathlib import Path

import numpy as np


def load_encoder(model, device):
    return None, (Path(model) / "model.safetensors").read_text()


def embed_texts(tokenizer, encoder, texts, advance=None, batch=32):
    found = [list(hashlib.sha256((encoder + text).encode()).digest()[:8]) for text in texts]
    return np.asarray(found, dtype=np.float32)
