"""A reward model in vLLM: one number per conversation, the logit of a sequence classifier with one label.

The shape is that of Skywork-Reward-V2 (arXiv 2507.01352) and of most reward models on the hub:
`AutoModelForSequenceClassification` with num_labels = 1, asked with the conversation in its own chat
template and no system prompt. vLLM puts a sigmoid on one label by default; it is off here, since it
saturates.
"""

import gc
from pathlib import Path
from typing import Any

from alma.chat_template import render, token_ids
from alma.engine import _log_lines, _prepare_environment, use_gpu
from alma.errors import InputError, shorten
from alma.json_text import parse_json
from alma.tables import assistant

_HUB_FILES = ("*.json", "*.safetensors", "tokenizer*", "*.model", "*.jinja", "vocab*", "merges*")


def reward_folder(source: str, name: str) -> Path:
    """Folder of a reward model, from this machine or the hub, after a look at all but its weights.

    Args:
        source: a folder, or hub:OWNER/NAME@REVISION.
        name: what messages call the judge, for example evaluation.judges.skywork.

    Raises:
        InputError: it is not there, or no sequence classifier with one label in safetensors.
    """
    folder = Path(source)
    if source.startswith("hub:"):
        import huggingface_hub

        repo, _, revision = source.removeprefix("hub:").partition("@")
        try:
            folder = Path(
                huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=list(_HUB_FILES))
            )
        except Exception as error:  # the library raises what the network or the hub gives it
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InputError(
                f"{name}.model: {source} cannot be downloaded: {type(error).__name__}: {reason}. Where the "
                f"model is gated, accept its terms on its page and log in (hf auth login)"
            ) from error
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{name}.model: {source} has no readable config.json ({error})") from error
    kinds, labels = config.get("architectures") or [], config.get("id2label") or {}
    if config.get("auto_map"):
        raise InputError(f"{name}.model: {source} asks for code of its own (auto_map), which is never run")
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds) or len(labels) > 1:
        raise InputError(
            f"{name}.model: {source}: found {shorten(kinds)} with {len(labels) or 'no'} labels, expected a "
            f"...ForSequenceClassification with one label, as reward models are (num_labels = 1)"
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{name}.model: {source} has no .safetensors file; expected weights")
    return folder


def conversation_ids(tokenizer: Any, messages: list[dict[str, str]], response: str) -> list[int]:
    """Token ids of a conversation and a response to it, with one beginning-of-sequence token where the model
    has one.

    Args:
        messages: turns with `role` and `content`, the last one the user's.
    """
    text = render(tokenizer, [*messages, *assistant(response)], add_generation_prompt=False)
    ids = token_ids(tokenizer, text)
    begin = tokenizer.bos_token_id
    # A template writes it or leaves it to the tokenizer; both would make two of it.
    wanted = begin is not None and tokenizer("a")["input_ids"][:1] == [begin]
    return [begin, *ids] if wanted and ids[:1] != [begin] else ids


def rewards(
    folder: Path,
    name: str,
    engine: dict[str, Any],
    pairs: list[tuple[list[dict[str, str]], str]],
    what: str,
) -> list[float | None]:
    """Reward of each (messages, response), in their order; None for one that is longer than max_model_len.

    Args:
        folder: of `reward_folder`.
        name: what messages call the judge.
        engine: the config's `engine`, with the judge's own max_model_len.
        what: name in the progress line.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    gpu = use_gpu(engine["device"])
    _prepare_environment(gpu, engine["kv_cache_gib"])
    from vllm import LLM, PoolingParams

    gc.freeze()  # as in `alma.engine.open_engine`
    dtype = engine["dtype"] if engine["dtype"] != "auto" else "bfloat16" if gpu else "float32"
    longest = engine["max_model_len"]
    options: dict[str, Any] = {
        "runner": "pooling",
        "dtype": dtype,
        "max_model_len": longest,
        "max_num_seqs": engine["max_num_seqs"],
        "trust_remote_code": False,
        "disable_log_stats": True,
        "seed": 0,
    }
    if gpu:
        options |= {key: engine[key] for key in ("gpu_memory_utilization", "tensor_parallel_size")}
    else:
        options |= {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(longest, 2048),
        }
    llm = LLM(model=str(folder), **options)
    tokenizer = llm.get_tokenizer()
    if not tokenizer.chat_template:
        raise InputError(f"{name}.model: {folder} has no chat template; expected that of its conversations")
    ids = [conversation_ids(tokenizer, messages, response) for messages, response in pairs]
    fitting = [i for i, tokens in enumerate(ids) if len(tokens) <= longest]
    found: list[float | None] = [None] * len(pairs)
    if fitting:
        outputs = llm.encode(
            [{"prompt_token_ids": ids[i]} for i in fitting],
            PoolingParams(use_activation=False),
            pooling_task="classify",
            use_tqdm=_log_lines(what, "rewards"),
        )
        for i, output in zip(fitting, outputs, strict=True):
            found[i] = float(output.outputs.data.float().item())
    return found
