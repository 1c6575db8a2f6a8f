"""How much memory, time and disk a job asks for beyond the base that its rule names, from the config.

A rule's base is what the embedded model (135 million parameters) and a shard of some thousand rows need. What
a larger model or a larger shard needs beyond it is computed here, for all rules; `--set-resources` wins over
both. The figures are estimates that rather ask for too much: a job that is killed for memory or time costs
more than one that asked for twice as much, and each retry asks for more. Standard library only: the Snakefile
calls this.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

EMBEDDED = 135_000_000
UNKNOWN = 8_000_000_000  # of a model whose size nothing tells

ENGINE = {
    *("sample_responses", "score_responses", "synthesize_prompts", "sample_evaluation", "score_evaluation"),
    *("sample_selection", "score_selection", "sample_distillation", "score_distillation", "score_heldout"),
    *("sample_annotation", "score_annotation", "judge_with_reward", "score_reward_bench", "run_harness"),
}
EMBEDDING = {"fit_projection", "embed_prompts"}
TRAINING = {"train_sft", "train_judge_seed", "train_judge", "train_round"}
# KB in memory per row, twice what it takes. Measured: select_responses 2.9, train_round 4.8 (its token ids
# are in a file that is mapped into memory); the others by arithmetic (of
# compare_prompts 1.8 for a prompt in 32 parts and 1.3 for its buckets; else texts, and their token ids as
# Python objects).
_KB_PER_ROW = {
    "compare_prompts": 7.0,
    "drop_duplicates": 0.6,
    "unique_prompts": 2.0,
    "deal_prompts": 4.0,
    "check_rounds": 2.0,
    "select_responses": 6.0,
    "measure_round": 6.0,
    "build_dataset": 8.0,
    "train_round": 10.0,
}
# tokens/s = threads (or GPUs) x rate / parameters. On a CPU measured with the embedded model: 75 tokens/s per
# core in sampling, 50 in training. On a GPU not measured here, but so that 8 billion parameters give 10,000
# tokens/s in sampling and 5,000 in training, of the order that is published for an H100.
_RATES = {
    **{("engine", False): 1.0e10, ("training", False): 6.7e9},
    **{("engine", True): 8.0e13, ("training", True): 4.0e13},
}
_MOST_TOKENS = 50_000  # per second and GPU: a small model waits for other things
_READ = 4  # a token that is read (scored) costs this part of one that is written


def from_config_json(path: Path) -> int | None:
    """Parameters of a decoder, from its config.json; None where that does not tell."""
    try:
        values = json.loads(path.read_text())
        values = values.get("text_config", values)
        hidden, layers = int(values["hidden_size"]), int(values["num_hidden_layers"])
        heads = int(values["num_attention_heads"])
        head = int(values.get("head_dim") or hidden // heads)
        keys = int(values.get("num_key_value_heads") or heads)
        feed = int(values["intermediate_size"]) * int(values.get("num_local_experts") or 1)
        vocabulary = int(values["vocab_size"]) * hidden * (1 if values.get("tie_word_embeddings") else 2)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return vocabulary + layers * (2 * hidden * head * (heads + keys) + 3 * hidden * feed)


def cached_config(source: str) -> Path:
    """Place of a hub model's config.json in the hub's cache, where it may lie."""
    name, _, revision = source.removeprefix("hub:").partition("@")
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return cache / f"models--{name.replace('/', '--')}" / "snapshots" / revision / "config.json"


def parameters(source: str) -> int:
    """Parameters of `base_model.source`: by its config.json where that lies here, else by its name.

    Args:
        source: a folder, a file of weights, hub:OWNER/NAME@REVISION, or package:NAME.
    """
    local = not source.startswith(("hub:", "package:"))
    found = from_config_json(Path(source) / "config.json" if local else cached_config(source))
    if found is not None:
        return found
    name = source.partition("@")[0].rsplit("/", 1)[-1]
    sizes = re.findall(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])", name)
    if sizes:
        number, unit = sizes[-1]
        return int(float(number) * (1e9 if unit in "bB" else 1e6))
    if local and Path(source).is_file():
        return Path(source).stat().st_size  # quantized weights have a byte each, or less
    return UNKNOWN


def cells_of(config: dict[str, Any]) -> int:
    """Cells that a run's prompts are clustered in; 1 where it is done in one level."""
    prompts = config["prompts"]
    return int(prompts["cells"] or 1) if prompts["diversify"] else 1


def cell_sample(cells: int) -> int:
    """Prompts that so many cells are found on (`alma.cells.sample_size`)."""
    return max(8192, 128 * cells)


class Sizes:
    """What the jobs of one run ask for.

    Args:
        config: the run's whole config. on_gpu: whether its jobs run on GPUs.
    """

    def __init__(self, config: dict[str, Any], on_gpu: bool) -> None:
        self.config, self.on_gpu = config, on_gpu
        self.parameters = parameters(config["base_model"]["source"])
        self._cells = cells_of(config)

    def _rows(self, rule: str) -> int:
        """Rows that a job holds; 0 where the config does not tell."""
        config = self.config
        checkpoints = len(config["checkpoints"]["sample"])
        shard, samples = config["prompts_per_shard"], config["samples_per_prompt"]
        if rule in ("sample_responses", "score_responses"):
            block: int = min(config["samples_per_block"], samples)
            return int(shard * math.ceil(block / checkpoints))
        if rule == "select_responses":
            return int(shard * samples)
        if rule == "measure_round":
            return int(config["prompts_per_round"] * samples)
        # A part of the comparison is as large as a shard.
        if rule in ("synthesize_prompts", "compare_prompts", "unique_prompts", "assign_cells", *EMBEDDING):
            return int(config["prompts"]["raw_per_shard"])
        prompts = config["prompts"]["shards"] * config["prompts"]["raw_per_shard"]
        if rule == "find_cells":
            return min(cell_sample(self._cells), int(prompts))
        if rule == "cluster_cells":  # cells are not of one size: twice the mean of a part
            return int(min(prompts, 2 * prompts / min(self._cells, config["prompts"]["shards"])))
        if rule in ("drop_duplicates", "cluster_prompts", "deal_prompts", "check_rounds"):
            return int(prompts)
        if rule == "build_dataset":
            return int(config["prompts_per_round"])
        if rule == "train_round":  # the last round's is trained on all of them
            return int(config["prompts_per_round"] * max(config["rounds"] - 1, 1))
        return 0

    def _width(self) -> float:
        """Numbers in an embedding. The model's width follows from its parameters (135 million: 576)."""
        width = 576 * max(self.parameters / EMBEDDED, 1) ** 0.48
        return min(width, self.config["prompts"]["embedding_dimensions"] or width)

    def _tokens(self, rule: str) -> int:
        """Tokens that an engine writes per row at most."""
        part = "prompts" if rule == "synthesize_prompts" else "sampling"
        return int(self.config[part]["max_tokens"])

    def _training(self, rule: str) -> dict[str, Any]:
        """The config's part of a training."""
        part = self.config["judge"]["training"] if "judge" in rule else self.config["training"]["sft"]
        return dict(part)

    def mem_mb(self, rule: str, base: int) -> int:
        """Memory of the machine, not of its GPUs."""
        beyond, rows = max(self.parameters - EMBEDDED, 0) / 1e6, self._rows(rule)
        more = rows * _KB_PER_ROW.get(rule, 0) / 1000
        if rule in ENGINE:
            gpus = self.config["engine"]["tensor_parallel_size"]
            # On a CPU the weights (float32) and the cache of keys and values; on GPUs their way there, and a
            # process per GPU.
            more += beyond * 2 + 3000 * gpus if self.on_gpu else beyond * 4
            more += 0 if self.on_gpu else 1024 * max(self.config["engine"]["kv_cache_gib"] - 1, 0)
            more += rows * self._tokens(rule) * 40 / 1e6
        elif rule in TRAINING:
            gpus = self._training(rule).get("gpus") or 1
            # On a CPU weights, gradients, the two moments of Adam and DPO's reference, in float32; on GPUs
            # the weights as they are gathered, and a process per GPU.
            more += beyond * 8 + 4000 * gpus if self.on_gpu else beyond * 20
        elif rule == "base_model":
            more += beyond * 6
        elif rule == "cluster_prompts" and self._cells > 1:
            more += rows * 0.2 / 1000  # ids and numbers
        elif rule in ("cluster_prompts", "find_cells"):
            more += rows * 5 * self._width() / 1e6  # embeddings in float32, and what k-means adds
        elif rule in ("assign_cells", "cluster_cells"):
            # A shard in float16 and what is written of it, or a part in float16 and one cell in float32.
            more += rows * 8 * self._width() / 1e6
        elif rule in EMBEDDING:
            more += beyond * 4 + rows * 4 * self._width() / 1e6
        return math.ceil(base + more)

    def runtime(self, rule: str, base: int) -> int:
        """Minutes: the base, and twice what the work should take."""
        kind = "training" if rule in TRAINING else "engine"
        if rule not in ENGINE | TRAINING | EMBEDDING:
            return base
        tokens = float(self._rows(rule))
        if kind == "training":
            gpus, threads = (
                self._training(rule).get("gpus") or 1,
                self.config["training"]["threads"]["rounds"],
            )
            tokens *= self._training(rule)["max_length"] / 2
        else:
            gpus, threads = self.config["engine"]["tensor_parallel_size"], self.config["engine"]["threads"]
            tokens *= self._tokens(rule)
            if rule.startswith("score") or rule in EMBEDDING:
                tokens /= _READ
        rate = _RATES[kind, self.on_gpu] / max(self.parameters, 1)
        rate = min(rate, _MOST_TOKENS) * gpus if self.on_gpu else rate * (threads or os.cpu_count() or 1)
        return math.ceil(base + 2 * tokens / rate / 60)

    def disk_mb(self, rule: str, base: int) -> int:
        """A model in float32; beside one in training two resume states, with the moments of Adam."""
        each = 28 if rule in TRAINING else 8
        return math.ceil(base + self.parameters * each / 1e6)


class Requests:
    """Resources of the rules: functions as Snakemake takes them, which give more at each attempt.

    Args:
        sizes: {name of a run: its sizes}. default: the run of a job whose wildcards name none.
    """

    def __init__(self, sizes: dict[str, Sizes], default: str) -> None:
        self._sizes, self._default = sizes, default

    def _of(self, wildcards: Any) -> Sizes:
        return self._sizes[getattr(wildcards, "run", self._default)]

    def memory(self, base: int) -> Callable[..., int]:
        """`mem_mb` of a rule. Args: base: MB with the embedded model and a small shard."""
        return lambda wildcards, attempt, rulename: attempt * self._of(wildcards).mem_mb(rulename, base)

    def minutes(self, base: int) -> Callable[..., int]:
        """`runtime` of a rule. Args: base: minutes with the embedded model and a small shard."""
        return lambda wildcards, attempt, rulename: attempt * self._of(wildcards).runtime(rulename, base)

    def disk(self, base: int) -> Callable[..., int]:
        """`disk_mb` of a rule that writes a model. Args: base: MB beside the model."""
        return lambda wildcards, rulename: self._of(wildcards).disk_mb(rulename, base)
