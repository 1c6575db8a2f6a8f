"""Stand-in for vLLM: texts and ratings are a hash of the model's weights, the prompt and the seed."""

import hashlib
import math
import random
from dataclasses import dataclass
from pathlib import Path

WORDS = ["amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven", "jade", "kite", "lunar"]


@dataclass(frozen=True)
class Request:
    token_ids: list[int]
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: str
    tokens: int


def use_gpu(device):
    return False


class Characters:
    """A tokenizer of single characters."""

    chat_template, added_tokens_decoder, all_special_tokens = "", {}, ()

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        return "".join(f"{m['role']}: {m['content']}\n" for m in messages)

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids, **_):
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, ids):
        return [chr(i) for i in ids]


class Engine:
    def __init__(self, model):
        self.tokenizer, self.max_model_len = Characters(), 10**6
        self.model = (Path(model) / "model.safetensors").read_text()

    def _random(self, *facts):
        return random.Random(hashlib.sha256(repr((self.model, *facts)).encode()).digest())

    def generate(self, requests, what="sampling"):
        found = []
        for request in requests:
            dice = self._random(request.token_ids, request.seed, request.temperature)
            text = " ".join(dice.choices(WORDS, k=dice.randint(6, 12))) + "."
            found.append(Completion(text, "stop", len(text)))
        return found

    def rating_logprobs(self, prompts, ratings, what):
        found = []
        for ids in prompts:
            weights = [self._random(ids, k).random() + 0.01 for k in range(len(ratings))]
            found.append([math.log(weight / sum(weights)) for weight in weights])
        return found


def open_engine(model, engine):
    return Engine(model)
