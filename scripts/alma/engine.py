"""vLLM in one process: batches of token-id requests in, texts or rating probabilities out.

Every request holds its own seed and one sample, so on a CPU in float32 a text depends on the model,
the prompt and the seed, and not on the batch that it is part of.
"""

import gc
import io
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.library_variables import for_the_engine
from alma.progress import Progress
from alma.workflow import parts
from alma.workflow.quiet import held_back


@dataclass(frozen=True)
class Request:
    """One text to sample: the prompt's token ids and how to sample."""

    token_ids: list[int]
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    logprob: bool = False  # whether the completion is to tell how probable it is


@dataclass(frozen=True)
class Completion:
    """A sampled text; `finish_reason` is "length" where the token limit cut it off, else "stop".

    `logprob` is the mean natural log-probability of the tokens of `text`, before temperature and nucleus,
    where the request asked for it and the text has any.
    """

    text: str
    finish_reason: str
    tokens: int
    logprob: float | None = None


def use_gpu(device: str) -> bool:
    """Whether the config's `device` (auto, cpu, cuda) means a GPU on this machine.

    Raises:
        InputError: cuda is asked for and there is none.
    """
    import torch

    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise InputError("engine.device: found cuda, but torch sees no GPU on this machine")
    return found and device != "cpu"


def _prepare_environment(gpu: bool, kv_cache_gib: float) -> None:
    """Variables that vLLM reads when it is imported and as it starts; and nothing is asked of the hub."""
    os.environ.update(for_the_engine(gpu))
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants:  # it has read the variable
        constants.HF_HUB_OFFLINE = True
    if not gpu:
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(kv_cache_gib)))


def _log_lines(what: str, unit: str) -> Any:
    """What `LLM.generate` takes as `use_tqdm`: a progress bar that is lines in the log (`Progress`)."""
    from tqdm import tqdm

    class LogLines(tqdm):
        """Advances `Progress` and shows no bar of its own."""

        def __init__(self, *args: Any, total: int | None = None, **options: Any) -> None:
            # Never disabled, whatever TQDM_DISABLE says: vLLM divides by the time that a live bar has run.
            super().__init__(*args, total=total, file=io.StringIO(), disable=False)
            self.lines = Progress(what, total or 0, unit)

        def display(self, *args: Any, **options: Any) -> None:
            pass

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            self.lines.advance(int(n or 0))

    def bar(requests: Any = None, **options: Any) -> Any:
        # vLLM asks for one bar over the list of prompts, as it reads them, and then one that it updates.
        return LogLines(**options) if requests is None else requests

    return bar


def _mean_logprob(output: Any) -> float | None:
    """Mean log-probability of the tokens of a completion's text; those of its stop string do not count."""
    values, length = [], 0
    for token, step in zip(output.token_ids, output.logprobs, strict=True):
        if length >= len(output.text):
            break
        values.append(step[token].logprob)
        length += len(step[token].decoded_token or "")
    return sum(values) / len(values) if values else None


class Engine:
    """A loaded checkpoint; see `open_engine`."""

    def __init__(self, llm: Any, max_model_len: int) -> None:
        self.llm = llm
        self.max_model_len = max_model_len
        self.tokenizer = llm.get_tokenizer()

    def _run(self, prompts: list[list[int]], params: list[Any], what: str, unit: str) -> list[Any]:
        """Run all requests; outputs in the order of the requests, progress in the log."""
        if not prompts:
            return []
        longest = max(len(ids) + p.max_tokens for ids, p in zip(prompts, params, strict=True))
        if longest > self.max_model_len:
            raise InputError(
                f"engine.max_model_len: found {self.max_model_len}, expected at least {longest}, the "
                f"tokens of the longest prompt and its response"
            )
        tokens: list[Any] = [{"prompt_token_ids": ids} for ids in prompts]
        return self.llm.generate(tokens, params, use_tqdm=_log_lines(what, unit))

    def generate(self, requests: list[Request], what: str = "sampling") -> list[Completion]:
        """Sample one text a request, in the order of the requests; prints progress as `what`.

        In a job, what a killed one had finished is not sampled again (`alma.workflow.parts`).
        """
        return [Completion(**answer) for answer in parts.run(requests, self._sample, what)]

    def _sample(self, requests: list[Request], what: str) -> list[dict[str, Any]]:
        from vllm import SamplingParams

        params = [
            SamplingParams(
                n=1,
                seed=r.seed,
                temperature=r.temperature,
                top_p=r.top_p if r.temperature > 0 else 1.0,
                max_tokens=r.max_tokens,
                stop=list(r.stop) or None,
                # Of the sampled token alone; raw (vLLM's default `logprobs_mode`): the model's own.
                logprobs=0 if r.logprob else None,
            )
            for r in requests
        ]
        outputs = self._run([r.token_ids for r in requests], params, what, "responses")
        results = []
        for output in outputs:
            first = output.outputs[0]
            reason = "stop" if first.finish_reason == "stop" else "length"
            logprob = _mean_logprob(first) if first.logprobs else None
            results.append(asdict(Completion(first.text, reason, len(first.token_ids), logprob)))
        return results

    def rating_logprobs(
        self, prompts: list[list[int]], ratings: list[tuple[int, ...]], what: str
    ) -> list[list[float]]:
        """Log-probability of each rating after each prompt.

        vLLM reports `logprob_token_ids` before it masks tokens, so one request gives two steps: the
        distribution where the rating begins, and, with a first digit forced, the one that follows.
        There is one request for each first token that has a second, so that the probability of a
        rating is that of its whole text.

        Args:
            prompts: token ids up to the place where a rating stands.
            ratings: token ids of each rating, one or two (`alma.judging.rating_tokens`).
            what: name in the progress line.

        In a job, what a killed one had finished is not read again (`alma.workflow.parts`).

        Returns:
            For each prompt a natural log for each rating, as float.
        """
        return parts.run(prompts, lambda some, name: self._read_ratings(some, ratings, name), what)

    def _read_ratings(
        self, prompts: list[list[int]], ratings: list[tuple[int, ...]], what: str
    ) -> list[list[float]]:
        from vllm import SamplingParams

        tokens = sorted({token for rating in ratings for token in rating})
        openings = sorted({rating[0] for rating in ratings if len(rating) == 2})
        found = [[0.0] * len(ratings) for _ in prompts]
        for place, opening in enumerate(openings or [ratings[0][0]]):
            param = SamplingParams(
                temperature=0.0,
                max_tokens=2 if openings else 1,
                allowed_token_ids=[opening],
                logprob_token_ids=tokens,
                ignore_eos=True,
                detokenize=False,
            )
            name = f"{what}, pass {place + 1} of {len(openings)}" if len(openings) > 1 else what
            outputs = self._run(prompts, [param] * len(prompts), name, "ratings")
            for values, output in zip(found, outputs, strict=True):
                steps = output.outputs[0].logprobs
                for i, rating in enumerate(ratings):
                    if len(rating) == 1:
                        values[i] = steps[0][rating[0]].logprob
                    elif rating[0] == opening:
                        values[i] = steps[0][rating[0]].logprob + steps[1][rating[1]].logprob
        return found


_STABLE = 231  # a file descriptor, high enough to be free
_held = False  # whether it is ours


def stable_path(model: str | Path) -> str:
    """A name for the folder of a checkpoint that is the same for every checkpoint, and this process's alone.

    vLLM looks for compiled graphs under a hash that holds the path of the model, so each new checkpoint would
    compile its own. Weights are no part of a graph; shapes, types and versions are in the hash as well. The
    name is that of an open descriptor, so jobs side by side do not see each other's. Where there is no such
    name (no /proc, the number is taken) it is the folder's own.
    """
    global _held
    name = f"/proc/self/fd/{_STABLE}"
    if os.path.lexists(name) and not _held:
        return str(model)
    folder = os.open(model, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(folder, _STABLE, inheritable=False)
    os.close(folder)
    _held = True
    return name if os.path.isdir(name) and os.path.samefile(name, model) else str(model)


def open_engine(model: str | Path, engine: dict[str, Any]) -> Engine:
    """Load a checkpoint into vLLM.

    Args:
        model: folder of the checkpoint.
        engine: the config's `engine` (device, dtype, max_model_len, max_num_seqs, kv_cache_gib,
            gpu_memory_utilization, tensor_parallel_size). A judge's also has `head_dtype`, the type of
            the output layer, for which vLLM takes the weights' type where nothing is said.
    """
    gpu = use_gpu(engine["device"])
    _prepare_environment(gpu, engine["kv_cache_gib"])
    dtype = engine["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if gpu else "float32"
    head = engine.get("head_dtype", dtype)
    options: dict[str, Any] = {
        "dtype": dtype,
        "hf_overrides": {} if head == dtype else {"head_dtype": head},
        "max_model_len": engine["max_model_len"],
        "max_num_seqs": engine["max_num_seqs"],
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "generation_config": "vllm",  # no sampling defaults of the checkpoint's own
        "disable_log_stats": True,
        "seed": 0,
    }
    if gpu:
        options |= {
            "gpu_memory_utilization": engine["gpu_memory_utilization"],
            "tensor_parallel_size": engine["tensor_parallel_size"],
        }
    else:
        options |= {
            "enforce_eager": True,
            # Small blocks: a shared prefix is cached in whole blocks only.
            "block_size": 32,
            # A seeded request whose prompt is split crashes the CPU engine.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(engine["max_model_len"], 2048),
        }
    # Workers of several GPUs do not have this process's descriptors.
    place = stable_path(model) if gpu and engine["tensor_parallel_size"] == 1 else str(model)
    # The workers of several GPUs go on printing to where they were started.
    quiet = held_back("vLLM") if engine["tensor_parallel_size"] == 1 else nullcontext()
    with quiet:
        from vllm import LLM

        gc.freeze()  # vLLM runs the garbage collector as it starts; it need not walk what was imported
        llm = LLM(model=place, **options)
    return Engine(llm, engine["max_model_len"])
