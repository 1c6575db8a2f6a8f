"""The tokenizer of a checkpoint, loaded without its weights."""

from pathlib import Path
from typing import Any


def load_tokenizer(folder: str | Path) -> Any:
    """Load a checkpoint's tokenizer, with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
