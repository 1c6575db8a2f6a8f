"""Stand-in for vLLM: texts and ratings are a hash of the model's weights, the prompt and the seed."""

import hashlib
import math
import random
from dataclasses import dataclass
from pathlib import Path

from alma.tokenizer import load_tokenizer

WORDS = ["amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven", "jade", "kite", "lunar"]


@dataclass(frozen=True)
class Request:
    token_ids: list[int]
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    logprob: bool = False


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: str
    tokens: int
    logprob: float | None = None


def use_gpu(device):
    return False


class Engine:
    def __init__(self, model, max_model_len):
        self.tokenizer, self.max_model_len = load_tokenizer(model), max_model_len
        self.model = (Path(model) / "model.safetensors").read_text()

    def _random(self, *facts):
        return random.Random(hashlib.sha256(repr((self.model, *facts)).encode()).digest())

    def _check(self, length):
        assert length <= self.max_model_len, f"a request of {length} tokens reached the engine"

    def generate(self, requests, what="sampling"):
        found = []
        for request in requests:
            self._check(len(request.token_ids) + request.max_tokens)
            dice = self._random(request.token_ids, request.seed, request.temperature)
            text = " ".join(dice.choices(WORDS, k=dice.randint(6, 12))) + "."
            found.append(Completion(text, "stop", len(text), -1.0 if request.logprob else None))
        return found

    def rating_logprobs(self, prompts, ratings, what):
        found = []
        for ids in prompts:
            self._check(len(ids) + max(map(len, ratings)))
            weights = [self._random(ids, k).random() + 0.01 for k in range(len(ratings))]
            found.append([math.log(weight / sum(weights)) for weight in weights])
        return found


def open_engine(model, engine):
    return Engine(model, engine["max_model_len"])
