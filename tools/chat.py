"""Talk to a checkpoint.

    .venv/bin/python tools/chat.py results/default/models/round-3
    .venv/bin/python tools/chat.py results/default/models/round-3 --prompt "Name three rivers."

The answer appears as it is written. The conversation goes on until "exit" or Ctrl-D; "new" starts
another one. The checkpoint's own chat template is used, as in training.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

NEEDED = ("config.json", "model.safetensors", "tokenizer_config.json")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Talk to a checkpoint (a folder under results/RUN/models/).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="folder of the checkpoint")
    parser.add_argument("--prompt", help="answer this one prompt and end")
    parser.add_argument("--max-tokens", type=int, default=200, help="longest answer in tokens")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 always takes the likeliest token")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")
    found = parser.parse_args(given)
    if found.max_tokens < 1:
        parser.error(f"--max-tokens: found {found.max_tokens}, expected at least 1")
    if found.temperature < 0:
        parser.error(f"--temperature: found {found.temperature}, expected 0 or more")
    return found


def problem_with(model: Path) -> str | None:
    """Why a folder cannot be chatted with, None if it can."""
    if not model.is_dir():
        others = sorted(str(path.parent) for path in Path("results").glob("*/models/*/model.safetensors"))
        there = "\n  checkpoints here: " + ", ".join(others) if others else ""
        return f"{model}: no such folder; expected one such as results/default/models/round-3{there}"
    missing = [name for name in NEEDED if not (model / name).is_file()]
    if missing:
        return f"{model}: not a complete checkpoint, {', '.join(missing)} missing; make it with `make run`"
    return None


def fitting(tokenizer: Any, messages: list[dict[str, str]], room: int) -> list[int]:
    """Token ids of the conversation; its oldest turns are dropped until at most `room` are left.

    Raises:
        ValueError: the last message alone is too long.
    """
    from alma.chat_template import prompt_ids

    while len(ids := prompt_ids(tokenizer, messages)) > room:
        if len(messages) == 1:
            raise ValueError(f"the prompt has {len(ids)} tokens; the model takes {room} and the answer")
        del messages[:2]
    return ids


def answer(model: Any, tokenizer: Any, messages: list[dict[str, str]], options: argparse.Namespace) -> str:
    """Write the answer to stdout as it comes, and return it."""
    import torch
    from transformers import TextStreamer

    longest = getattr(model.config, "max_position_embeddings", None) or 2048
    most = min(options.max_tokens, longest // 2)
    ids = torch.tensor([fitting(tokenizer, messages, longest - most)], device=model.device)
    sampling: dict[str, Any] = {"do_sample": False}
    if options.temperature > 0:
        sampling = {"do_sample": True, "temperature": options.temperature, "top_p": 0.95}
    with torch.inference_mode():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most,
            pad_token_id=tokenizer.pad_token_id,
            streamer=TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True),
            **sampling,
        )
    return tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)


def read_line() -> str | None:
    """What the user types; None at the end of the input."""
    try:
        return input("you> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def converse(model: Any, tokenizer: Any, options: argparse.Namespace) -> None:
    """Answer line after line, with what was said before in view."""
    print('Type and press Enter. "new" starts over, "exit" or Ctrl-D ends.', flush=True)
    messages: list[dict[str, str]] = []
    while (line := read_line()) is not None:
        text = line.strip()
        if text == "exit":
            return
        if text == "new":
            messages = []
            print("(a new conversation)", flush=True)
        elif text:
            messages.append({"role": "user", "content": text})
            try:
                said = answer(model, tokenizer, messages, options)
                messages.append({"role": "assistant", "content": said})
            except ValueError as error:
                messages.pop()
                print(f"({error})", flush=True)
            except KeyboardInterrupt:
                messages.pop()
                print("\n(stopped)", flush=True)


def main(given: list[str] | None = None) -> int:
    """Load the checkpoint and talk; returns the exit status."""
    options = arguments(given)
    problem = problem_with(options.model)
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is in the folder
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    dtype = "auto" if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).to(device).eval()
    if options.prompt is None:
        converse(model, tokenizer, options)
        return 0
    try:
        answer(model, tokenizer, [{"role": "user", "content": options.prompt}], options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
