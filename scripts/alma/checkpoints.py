"""Save and load checkpoints: one folder of declared files, the same bytes for the same weights.

A checkpoint is what transformers and vLLM load as it is: one safetensors file, the tokenizer, the
chat template, and every end-of-sequence id that the model declares. No pickle is ever read, and no
code that comes with a model is ever run.
"""

import json
import os
import shutil
import tempfile
from glob import escape
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.files import sha256_of

# Files of a checkpoint, in the order of their writing; the rules declare them as outputs.
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "SHA256SUMS",  # of the others: what stands for the large weights where a job asks if they changed
)
# Keys that hold a path or a setting of the machine that wrote the file.
_MACHINE_KEYS = (
    "_name_or_path",
    "_model_name_or_path",
    "name_or_path",
    "_commit_hash",
    "is_local",
    "local_files_only",
)
# Tokens that models keep for padding, or that no text holds, in the order of preference.
_PAD_NAMES = (
    "<pad>",
    "<|pad|>",
    "[PAD]",
    "<|padding|>",
    "<|endoftext|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<unk>",
)


def as_ids(value: Any) -> list[int]:
    """Token ids of a config value: None, one id, or several."""
    if value is None:
        return []
    return [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every end-of-sequence id that model and tokenizer declare; the tokenizer's comes first."""
    declared = as_ids(tokenizer.eos_token_id)
    declared += as_ids(getattr(model.generation_config, "eos_token_id", None))
    declared += as_ids(getattr(model.config, "eos_token_id", None))
    return list(dict.fromkeys(declared))


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """Special tokens of a tokenizer: {text: id}, in the order of their ids."""
    added = sorted(tokenizer.added_tokens_decoder.items())
    found = {str(token): int(index) for index, token in added if token.special}
    for token in tokenizer.all_special_tokens:
        found.setdefault(str(token), int(tokenizer.convert_tokens_to_ids(token)))
    return found


def choose_pad_token(tokenizer: Any, template: str = "") -> str:
    """A pad token that is not the end-of-sequence token; the tokenizer's own where it is one.

    A pad token that is also the end-of-sequence token is masked out of the loss with the padding,
    and the model never learns to stop. No token is ever added: the weights keep their size.

    Args:
        tokenizer: a transformers tokenizer whose `eos_token` ends an assistant's turn.
        template: chat template; tokens that occur in it are the last choice.

    Raises:
        InputError: there is no special token besides the end-of-sequence token.
    """
    tokens = special_tokens(tokenizer)
    free = [token for token in tokens if token != tokenizer.eos_token]
    # Tokens that stand in a conversation could be masked with the padding too.
    used = {token for token in free if token in template or token == tokenizer.bos_token}
    wanted = [tokenizer.pad_token, *_PAD_NAMES, tokenizer.unk_token, *free]
    unused = [str(token) for token in wanted if token in free and token not in used]
    chosen = next(iter([*unused, *free]), None)
    if chosen is None:
        raise InputError(
            f"this tokenizer has no special token besides the end-of-sequence token "
            f"{tokenizer.eos_token!r}, so no token is left to pad with.\n"
            f"  Padding with the end-of-sequence token would keep the model from learning to stop. "
            f"Use a base model whose tokenizer has a pad token."
        )
    return chosen


def _clean_json(path: Path, **changes: Any) -> None:
    """Rewrite a JSON file without what belongs to a machine, with sorted keys and `changes`."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for key in _MACHINE_KEYS:
        values.pop(key, None)
    values |= changes
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _write_files(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the files of a checkpoint into an empty folder."""
    import torch
    import transformers

    if model.dtype not in (torch.float32, torch.bfloat16):
        model = model.to(torch.float32)
    stop_ids = eos_ids(model, tokenizer)
    # Sampling defaults of the model's authors would change what the engines do unasked.
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stop_ids,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder, max_shard_size="1000TB")
    tokenizer.save_pretrained(folder)
    _clean_json(
        folder / "config.json",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # What a run did to the tokenizer (its side of padding, a length limit) is not kept.
    _clean_json(folder / "tokenizer_config.json", padding_side="right", truncation_side="right")
    path = folder / "generation_config.json"
    values = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": stop_ids,
        "pad_token_id": tokenizer.pad_token_id,
        "transformers_version": transformers.__version__,
    }
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_checkpoint(model: Any, tokenizer: Any, folder: str | Path) -> None:
    """Write a model and its tokenizer as the files `MODEL_FILES`, all or none.

    They are written to a temporary sibling first and moved file by file, SHA256SUMS last: a folder with
    SHA256SUMS holds a whole checkpoint, wherever a save was killed. Other files of the folder
    (provenance.json, the resume state of a trainer beside it) stay. No two jobs save to one folder at a
    time, so a sibling that a killed one left, which is as large as the model, is removed.

    Args:
        model: a transformers causal language model; float32 and bfloat16 are kept, any other type
            becomes float32. Its generation config is replaced by one without sampling defaults.
        tokenizer: its tokenizer, with a chat template, and a pad token that is not EOS.
        folder: where to write; made if it does not exist.

    Raises:
        ValueError: no chat template, or the pad token is missing or ends a sequence (an error in
            the program: `base_model` settles both for every checkpoint that follows).
    """
    if not isinstance(tokenizer.chat_template, str):
        raise ValueError("a checkpoint needs a chat template")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise ValueError(f"pad token {tokenizer.pad_token!r} must be set and differ from EOS")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{escape(folder.name)}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        _write_files(model, tokenizer, temporary)
        mode = 0o666 & ~_umask()
        sums = [f"{sha256_of(temporary / name)}  {name}\n" for name in MODEL_FILES[:-1]]
        (temporary / MODEL_FILES[-1]).write_text("".join(sums))
        for name in MODEL_FILES:
            with (temporary / name).open("rb") as handle:
                os.fsync(handle.fileno())
            (temporary / name).chmod(mode)  # safetensors leaves it to the owner alone
        (folder / MODEL_FILES[-1]).unlink(missing_ok=True)
        for name in MODEL_FILES:
            os.replace(temporary / name, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    """The process's file mode mask; there is no way to read it but to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_model(folder: str | Path, dtype: str = "auto") -> Any:
    """Load a checkpoint's model for training or for hidden states, on the CPU, in eval mode.

    Args:
        folder: a folder that `save_checkpoint` wrote.
        dtype: "float32", "bfloat16", "float16", or "auto" for the type of the saved weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    kind = dtype if dtype == "auto" else getattr(torch, dtype)
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=kind,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    return model.eval()
