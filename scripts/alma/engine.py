"""vLLM in one process: batches of token-id requests in, texts or rating probabilities out.

Every request holds its own seed and one sample, so on a CPU in float32 a text depends on the model,
the prompt and the seed, and not on the batch that it is part of.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.progress import Progress


@dataclass(frozen=True)
class Request:
    """One text to sample: the prompt's token ids and how to sample."""

    token_ids: list[int]
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """A sampled text; `finish_reason` is "length" where the token limit cut it off, else "stop"."""

    text: str
    finish_reason: str
    tokens: int


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
    """Variables that vLLM reads when it is imported."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not gpu:
        # "nobind": jobs side by side must not be pinned to the same core.
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(kv_cache_gib)))
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


class Engine:
    """A loaded checkpoint; see `open_engine`."""

    def __init__(self, llm: Any, max_model_len: int) -> None:
        self.llm = llm
        self.max_model_len = max_model_len
        self.tokenizer = llm.get_tokenizer()

    def _run(self, prompts: list[list[int]], params: list[Any], what: str, unit: str) -> list[Any]:
        """Run all requests; outputs in the order of the requests, progress in the log."""
        longest = max((len(ids) + p.max_tokens for ids, p in zip(prompts, params, strict=True)), default=0)
        if longest > self.max_model_len:
            raise InputError(
                f"engine.max_model_len: found {self.max_model_len}, expected at least {longest}, the "
                f"tokens of the longest prompt and its response"
            )
        progress = Progress(what, len(prompts), unit)
        engine = self.llm.llm_engine
        for index, (ids, param) in enumerate(zip(prompts, params, strict=True)):
            engine.add_request(str(index), {"prompt_token_ids": ids}, param)
        found: dict[int, Any] = {}
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    found[int(output.request_id.split("-")[0])] = output
                    progress.advance()
        return [found[index] for index in range(len(prompts))]

    def generate(self, requests: list[Request], what: str = "sampling") -> list[Completion]:
        """Sample one text a request, in the order of the requests; prints progress as `what`."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                n=1,
                seed=r.seed,
                temperature=r.temperature,
                top_p=r.top_p if r.temperature > 0 else 1.0,
                max_tokens=r.max_tokens,
                stop=list(r.stop) or None,
            )
            for r in requests
        ]
        outputs = self._run([r.token_ids for r in requests], params, what, "responses")
        results = []
        for output in outputs:
            first = output.outputs[0]
            reason = "stop" if first.finish_reason == "stop" else "length"
            results.append(Completion(first.text, reason, len(first.token_ids)))
        return results

    def rating_logprobs(
        self, prompts: list[list[int]], ratings: list[int], what: str
    ) -> list[list[list[float]]]:
        """Log-probabilities of the ratings' tokens after each prompt, and after a forced "1".

        vLLM reports `logprob_token_ids` before it masks tokens, so one request gives both steps:
        the first step's distribution, then, with "1" forced, the distribution that decides "10".
        Where "10" is a token of its own there is no second step.

        Args:
            prompts: token ids up to the place where a rating stands.
            ratings: ids of the tokens "0" .. "9", and of "10" where it is one token.
            what: name in the progress line.

        Returns:
            For each prompt one or two lists of natural logs, as float, in the order of `ratings`.
        """
        from vllm import SamplingParams

        param = SamplingParams(
            temperature=0.0,
            max_tokens=2 if len(ratings) == 10 else 1,
            allowed_token_ids=[ratings[1]],
            logprob_token_ids=list(ratings),
            ignore_eos=True,
            detokenize=False,
        )
        outputs = self._run(prompts, [param] * len(prompts), what, "ratings")
        return [
            [[step[token].logprob for token in ratings] for step in output.outputs[0].logprobs]
            for output in outputs
        ]


def open_engine(model: str | Path, engine: dict[str, Any]) -> Engine:
    """Load a checkpoint into vLLM.

    Args:
        model: folder of the checkpoint.
        engine: the config's `engine` (device, dtype, max_model_len, max_num_seqs, kv_cache_gib,
            gpu_memory_utilization, tensor_parallel_size).
    """
    gpu = use_gpu(engine["device"])
    _prepare_environment(gpu, engine["kv_cache_gib"])
    from vllm import LLM

    dtype = engine["dtype"]
    options: dict[str, Any] = {
        "dtype": ("bfloat16" if gpu else "float32") if dtype == "auto" else dtype,
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
    return Engine(LLM(model=str(model), **options), engine["max_model_len"])
