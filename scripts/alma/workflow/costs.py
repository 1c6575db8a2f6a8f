"""What a job costs: requests, tokens, seconds, memory, disk, by arithmetic and without a model.

A rule's work is worked out from its spec (the narrow config that its script gets), its wildcards, and the
work of the jobs that it waits for. Seconds follow from the model's size and from a device's peak figures
times the efficiencies of `Assumed`, or from rates that were measured. Nothing here is exact; `tools/plan`
prints what is assumed.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from alma.workflow.sharding import ceil_div, shard_range
from alma.workflow.sizes import cell_sample, cells_of


class Device(NamedTuple):
    """Peak figures of a data sheet: dense bfloat16 FLOP/s, bytes/s of its memory, GiB.

    `start` are the seconds until an engine or a trainer is ready.
    """

    flops: float
    bandwidth: float
    gib: float
    start: float = 120.0


# Of a CPU, one AVX2 core in float32: with the efficiencies below these give back what sampling, scoring and
# training of the embedded model reached on two.
DEVICES = {
    "h100": Device(989e12, 3.35e12, 80),
    "h200": Device(989e12, 4.8e12, 141),
    "a100": Device(312e12, 2.04e12, 80),
    "l40s": Device(362e12, 0.864e12, 48),
    "cpu": Device(0.125e12, 3e9, 0, 15.0),
}
RATES = ("decode", "prefill", "train")  # tokens per second of one job's device: what can be measured instead


@dataclass(frozen=True)
class Assumed:
    """What no config says; every value is an option of `tools/plan` and is printed by it."""

    prompt_tokens: int = 60  # of a prompt that the run writes
    response_share: float = 0.4  # of max_tokens that a response takes on average
    kept: float = 0.6  # of the raw prompts that the filters leave
    sft_pairs: int = 5000  # rows of labels.sft
    judge_labels: int = 4000  # rows of labels.judge
    evaluation_prompts: int = 1000  # of each benchmark
    benchmark_pairs: int = 3000  # of RewardBench, where the config names it
    prefill_efficiency: float = 0.4  # of the peak, where prompts are read
    decode_efficiency: float = 0.4  # of the memory's bandwidth, where texts are written
    train_efficiency: float = 0.35  # of the peak, in training, beside the activations that are computed again


@dataclass(frozen=True)
class Model:
    """The model: its weights, and the bytes that the key-value cache takes per token."""

    parameters: float
    cache_bytes: float
    hidden: int
    layers: int = 0  # 0 where they are not known

    @classmethod
    def of(cls, parameters: float, config: dict[str, Any] | None = None) -> "Model":
        """From the number of weights, and from its config.json where that is known.

        Without it the cache and the width are scaled from Llama 3 8B (131,072 bytes, 4,096).
        """
        if not config:
            scale = math.sqrt(parameters / 8e9)
            return cls(parameters, 131072 * scale, round(4096 * scale))
        heads, width = config["num_attention_heads"], config["hidden_size"]
        head = config.get("head_dim") or width // heads
        cached = 4 * config["num_hidden_layers"] * config.get("num_key_value_heads", heads) * head
        return cls(parameters, cached, width, config["num_hidden_layers"])


@dataclass(frozen=True)
class Work:
    """What a job does. `read` are the tokens that are computed; those of a cached prefix count once."""

    requests: int = 0
    read: float = 0
    written: float = 0
    trained: float = 0  # tokens that are trained on, over all epochs
    passes: float = 1  # how many times the weights' own cost a trained token takes
    seconds: float = 0  # of a CPU, beside that
    disk: float = 0  # bytes
    host: float = 0  # bytes of memory, beside the weights


RUBRIC = 110  # tokens of the judge's question without prompt and response
_ROW = 40  # bytes of a response's ids, compressed
_TOKEN = 2.0  # bytes of a token of text, compressed
_SCORE = 96  # bytes of a score's row: eleven probabilities hardly compress
_HELD = 3000  # bytes of a response in a job's memory: Python objects and token ids
_EXAMPLE = 5000  # bytes of an example in a training's memory beside its text: Python objects; measured 3400
_TEXT = 5  # bytes of a token of text in memory


class Job(NamedTuple):
    """What is known of a job when it is planned."""

    rule: str
    wildcards: dict[str, str]
    config: dict[str, Any]  # of its spec
    run: dict[str, Any]  # the whole config of its run


def work(job: Job, before: list[tuple[str, Work]], model: Model, a: Assumed) -> Work:
    """The work of a job.

    Args:
        job: rule, wildcards, spec.
        before: rule and work of each job that it waits for.
        model: the base model. a: assumptions.
    """
    run, config, rule = job.run, job.config, job.rule
    answer = a.response_share * run["sampling"]["max_tokens"]
    sampled = [w for name, w in before if name.startswith("sample_")]
    if rule == "synthesize_prompts":
        count = config["count"]
        contexts = ceil_div(count, config["per_context"])  # each is read once
        read = contexts * a.prompt_tokens * sum(config["shots"]) / 2
        return _asked(count, read, count * a.prompt_tokens)
    if rule == "sample_responses":
        prompts = len(
            shard_range(int(job.wildcards["shard"]), run["prompts_per_shard"], run["prompts_per_round"])
        )
        return _answers(prompts, prompts * len(config["samples"]), answer, a)
    if rule == "sample_distillation":
        return _answers(config["prompts_used"], config["prompts_used"], answer, a)
    if rule == "sample_selection":
        wanted = run["evaluation"]["selection"]
        prompts = min(wanted["prompts"], a.evaluation_prompts)
        return _answers(prompts, prompts * wanted["samples"], answer, a)
    if rule == "sample_evaluation":
        share = a.response_share * config["max_tokens"]
        return _answers(a.evaluation_prompts, a.evaluation_prompts, share, a)
    if rule.startswith("score_"):
        count = sum(w.requests for w in sampled)
        if rule == "score_heldout":
            count = round(a.judge_labels * run["judge"]["heldout_fraction"])
        if rule == "score_reward_bench":
            count = 2 * a.benchmark_pairs
        if rule == "score_evaluation" and config.get("judge_prompts"):
            count = min(count, config["judge_prompts"])
        times = 2 if config["reading"] == "exact" else 1
        read = count * times * (answer + RUBRIC / 4)  # the question is cached
        return Work(count, read, count * times, disk=count * _SCORE, host=count * _HELD)
    if rule in ("fit_projection", "embed_prompts"):
        count = a.kept * run["prompts"]["raw_per_shard"]
        count = min(count, 8192) if rule == "fit_projection" else count
        held = count * 600 + count * 8 * model.hidden
        return Work(
            round(count), count * a.prompt_tokens, disk=2 * count * embedding_width(run, model), host=held
        )
    if rule.startswith("train_"):
        return _training(job, model, a, answer)
    return _without_engine(job, sampled, model, a)


def embedding_width(run: dict[str, Any], model: Model) -> int:
    """Numbers in an embedding of a prompt."""
    return min(model.hidden, run["prompts"]["embedding_dimensions"] or model.hidden)


def _asked(requests: float, read: float, written: float) -> Work:
    """Work of a job that asks the engine for texts."""
    disk = requests * _ROW + _TOKEN * written
    return Work(round(requests), read, written, disk=disk, host=requests * _HELD)


def _answers(prompts: int, requests: int, answer: float, a: Assumed) -> Work:
    """Work of a job that samples answers: a prompt is read once for all its samples."""
    return _asked(requests, prompts * a.prompt_tokens, requests * answer)


def _training(job: Job, model: Model, a: Assumed, answer: float) -> Work:
    run, training = job.run, job.config["training"]
    example, passes = a.prompt_tokens + answer, 1.0
    if job.rule == "train_sft":
        examples = float(a.sft_pairs)
    elif job.rule == "train_round":
        later = (int(job.wildcards["round"]) - 1) * run["prompts_per_round"]
        examples = a.sft_pairs + later
        if job.config["objective"] == "dpo":
            examples, example, passes = (
                later,
                2 * example,
                4 / 3,
            )  # both answers; the reference reads them once
    else:
        labels = a.judge_labels * (1 - run["judge"]["heldout_fraction"])
        more = run["judge"]["distillation"]
        examples = labels if job.rule == "train_judge_seed" else more["pairs"] + min(more["replay"], labels)
        in_row = training.get("attention", "sdpa") == "sdpa"  # which computes the question once
        example += RUBRIC / (training["micro_batch_size"] if in_row else 1)
    tokens = examples * min(example, training["max_length"])
    if training["method"] == "lora":
        passes *= 2 / 3  # no gradients of the frozen weights
    elif model.layers and training["last_layers"]:  # one part of three goes forward, two go back
        passes *= (1 + 2 * min(1.0, training["last_layers"] / model.layers)) / 3
    # Token ids are in a file that is mapped into memory; the rows are held as they were read.
    held = examples * (_EXAMPLE + _TEXT * example) + 2 * 2**30
    return Work(round(examples), trained=tokens * training["epochs"], passes=passes, host=held)


def _without_engine(job: Job, sampled: list[Work], model: Model, a: Assumed) -> Work:
    """CPU jobs; seconds and bytes per row were measured on one core (docs/performance.md)."""
    prompts = job.run["prompts"]
    shard = prompts["raw_per_shard"]
    raw = prompts["shards"] * shard
    row = _ROW + _TOKEN * a.prompt_tokens
    if job.rule == "filter_prompts":
        return Work(seconds=10 + shard * 2e-3, host=2**29, disk=shard * (row + 600))
    if job.rule == "compare_prompts":
        return Work(seconds=raw * 2e-5 + shard * 4e-5, host=shard * 3300)
    if job.rule == "drop_duplicates":
        return Work(seconds=raw * 1e-6, host=raw * 100, disk=a.kept * raw * 3)
    if job.rule == "unique_prompts":
        return Work(seconds=raw * 1e-7 + shard * 1e-6, host=shard * 1000, disk=a.kept * shard * row)
    if job.rule in ("cluster_prompts", "find_cells", "assign_cells", "cluster_cells"):
        return _clustering(job, a.kept * raw, embedding_width(job.run, model))
    if job.rule == "gather_prompts":
        return Work(seconds=5 + raw * 2e-6, host=2**28, disk=min(job.config["places"], raw) * row)
    rows = sum(w.requests for w in sampled)
    if job.rule == "select_responses":
        disk = job.run["prompts_per_shard"] * 4000
        return Work(seconds=rows * 3.3e-5, host=rows * 2900, disk=disk)
    return Work(seconds=20)


def _clustering(job: Job, kept: float, width: int) -> Work:
    """A step of k-means of so many prompts: 2 x vectors x centroids x width FLOPs per iteration."""
    prompts, cells = job.run["prompts"], cells_of(job.run)
    rate = 100e9  # measured: faiss, one core
    again = prompts["iterations"]
    shard = kept / prompts["shards"]  # and of cells a part, on average
    if job.rule == "find_cells":
        sample = min(cell_sample(cells), kept)
        flops = 2 * sample * cells * width * again
        return Work(seconds=10 + flops / rate / job.run["engine"]["threads"], host=4 * sample * width)
    if job.rule == "assign_cells":
        flops, disk = 2 * shard * cells * width, 2 * shard * width
        return Work(seconds=10 + flops / rate, host=4 * shard * width, disk=disk)
    if job.rule == "cluster_cells":
        part = kept / min(cells, prompts["shards"])
        flops = 2 * part * prompts["clusters"] / cells * width * again
        return Work(seconds=10 + flops / rate, host=4 * part * width, disk=40 * part)
    if cells > 1:  # a join
        return Work(seconds=10 + kept * 1e-6, host=200 * kept, disk=40 * kept)
    flops = 2 * kept * prompts["clusters"] * width * again * prompts["diversify"]
    seconds = flops / rate / job.run["engine"]["threads"]
    return Work(seconds=seconds, host=4 * kept * width + 200 * kept, disk=40 * kept)


def models_written(rule: str) -> bool:
    """Whether a rule's jobs write a checkpoint."""
    return rule == "base_model" or rule.startswith("train_")


class Rates(NamedTuple):
    """Tokens per second of a job, on all its GPUs together, for its kind of work."""

    decode: float
    prefill: float
    train: float


def rates(model: Model, device: Device, gpus: int, batch: float, context: float, a: Assumed) -> Rates:
    """Tokens per second by arithmetic.

    Reading a prompt and training are bound by FLOPs: 2 and 6 per weight and token, and in training on a GPU a
    third more, since activations are computed again. Writing is bound by memory: each step reads the weights
    and the cache of all sequences once. A CPU computes in float32.

    Args:
        gpus: of the job, or the threads of one without a GPU; at least 1.
        batch: sequences side by side. context: tokens of one on average.
    """
    size = 4 if device.gib == 0 else 2
    prefill = device.flops * a.prefill_efficiency * gpus / (2 * model.parameters)
    step = (size * model.parameters + batch * context * model.cache_bytes * size / 2) / (
        device.bandwidth * a.decode_efficiency * gpus
    )
    decode = batch / max(step, batch / prefill)
    again = 1.0 if device.gib == 0 else 4 / 3
    train = device.flops * a.train_efficiency * gpus / (6 * model.parameters * again)
    return Rates(decode, prefill, train)


def sequences(model: Model, device: Device, engine: dict[str, Any], gpus: int, context: float) -> float:
    """Sequences that an engine decodes side by side: `max_num_seqs`, or what its memory has room for."""
    if device.gib == 0:
        return engine["max_num_seqs"]
    room = gpus * device.gib * 2**30 * engine["gpu_memory_utilization"] - 2 * model.parameters
    return max(1.0, min(engine["max_num_seqs"], room / (context * model.cache_bytes)))


def seconds(job_work: Work, rate: Rates, start: float) -> float:
    """Wall time of a job that runs alone; `start` are those until it computes."""
    busy = job_work.read / rate.prefill + job_work.written / rate.decode
    busy += job_work.trained * job_work.passes / rate.train
    return busy + job_work.seconds + (start if busy else 0)


def gpu_bytes(job: Job, model: Model, gpus: int) -> float:
    """Memory that a job needs on each of its GPUs at least: of an engine, weights and one whole sequence."""
    if job.rule.startswith("train_"):
        each = 16.0 if job.config["training"]["method"] == "full" else 2.5
        tokens = job.config["training"]["micro_batch_size"] * job.config["training"]["max_length"]
        # Activations with checkpointing: 0.26 MB per token of an 8B model.
        return each * model.parameters / gpus + tokens * 0.26e6 * model.hidden / 4096 + 2 * 2**30
    engine = job.config.get("engine")
    if engine is None:
        return 2 * model.parameters + 2 * 2**30 if "device" in job.config else 0
    return (2 * model.parameters + engine["max_model_len"] * model.cache_bytes) / gpus + 2 * 2**30


def host_bytes(job: Job, job_work: Work, model: Model, on_gpu: bool) -> float:
    """Memory that a job needs on its machine."""
    libraries = 1.5 * 2**30 if "engine" in job.config or "device" in job.config else 0.3 * 2**30
    weights = 0.0
    if job.rule.startswith("train_"):
        weights = model.parameters * (4 if on_gpu else 16)
    elif libraries > 2**30:
        weights = model.parameters * (2 if on_gpu else 4)
        weights += 0 if on_gpu else job.run["engine"]["kv_cache_gib"] * 2**30 * ("engine" in job.config)
    return libraries + weights + job_work.host


def enough_prompts(run: dict[str, Any], a: Assumed) -> str | None:
    """Why the prompts of a run will not last for its rounds; None where they will."""
    prompts, rounds, each = run["prompts"], run["rounds"] - 1, run["prompts_per_round"]
    kept = a.kept * prompts["shards"] * prompts["raw_per_shard"]
    turns = ceil_div(rounds * each, prompts["clusters"])
    if rounds * each > kept or kept / prompts["clusters"] < turns:
        return (
            f"prompts run dry: {rounds} rounds take {rounds * each} prompts, {turns} from a cluster, and "
            f"about {kept:.0f} are kept, {kept / prompts['clusters']:.1f} in a cluster on average; raise "
            f"prompts.raw_per_shard or lower prompts.clusters"
        )
    return None
