"""Stand-in for vLLM: texts and ratings are a hash of the model's weights, the prompt and the seed."""

import hashlib
import math
import os
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from alma.tokenizer import load_tokenizer
from alma.workflow import parts

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

    def _note(self, items):
        """Where a test asks for it: how many items reached the engine, call by call."""
        if os.environ.get("TEST_ASKED"):
            with open(os.environ["TEST_ASKED"], "a") as handle:
                handle.write(f"{len(items)}\n")

    def generate(self, requests, what="sampling"):
        return [Completion(**answer) for answer in parts.run(requests, self._sample, what)]

    def _sample(self, requests, what):
        self._note(requests)
        found = []
        for request in requests:
            self._check(len(request.token_ids) + request.max_tokens)
            dice = self._random(request.token_ids, request.seed, request.temperature)
            text = " ".join(dice.choices(WORDS, k=dice.randint(6, 12))) + "."
            answer = Completion(text, "stop", len(text), -1.0 if request.logprob else None)
            found.append(asdict(answer))
        return found

    def rating_logprobs(self, prompts, ratings, what):
        return parts.run(prompts, lambda some, name: self._read_ratings(some, ratings), what)

    def _read_ratings(self, prompts, ratings):
        self._note(prompts)
        found = []
        for ids in prompts:
            self._check(len(ids) + max(map(len, ratings)))
            weights = [self._random(ids, k).random() + 0.01 for k in range(len(ratings))]
            found.append([math.log(weight / sum(weights)) for weight in weights])
        return found


def open_engine(model, engine):
    return Engine(model, engine["max_model_len"])
