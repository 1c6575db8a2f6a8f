"""The command `tools/plan`: what a config costs before it runs, in GPU-hours, time, disk and memory."""

import argparse
import heapq
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from alma.errors import InputError
from alma.workflow import costs, sizes
from alma.workflow.config import ROOT, check_config, is_local, merge, run_configs
from alma.workflow.costs import Assumed, Device, Job, Model, Rates, Work
from alma.workflow.plan import plan, spec_of

GIB = 2**30


@dataclass
class Cost:
    """A job of the plan with what it costs."""

    job: Job
    stage: str
    work: Work
    seconds: float
    gpus: int
    runtime: float  # seconds that its rule allows
    memory: float  # bytes that its rule asks for
    host: float  # bytes that it needs
    gpu_bytes: float
    after: list[int]  # places of the jobs that it waits for


def model_of(source: str, parameters: float | None, config_json: str | None) -> tuple[Model, str]:
    """The model's size, and where it comes from, in words.

    Raises:
        InputError: --model-config names no config.json of a decoder.
    """
    path = Path(config_json or Path(source) / "config.json")
    if not config_json and not is_local(source):
        path = sizes.cached_config(source)
    counted = sizes.from_config_json(path)
    if counted is None:
        if config_json:
            raise InputError(f"--model-config {config_json}: found no config.json of a decoder there")
        known, counted, where = (
            None,
            sizes.parameters(source),
            "the name of base_model, or 8G where it tells none",
        )
    else:
        known, where = json.loads(path.read_text(encoding="utf-8")), str(path)
    return Model.of(parameters or counted, known), "--parameters" if parameters else where


def load_config(paths: Sequence[str]) -> dict[str, Any]:
    """Config of the main run: the files laid over each other, with all defaults.

    Raises:
        InputError: it is wrong.
    """
    config: dict[str, Any] = {}
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"config: no such file: {path}")
        config = merge(config, yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
    check_config(config)
    return config


def counted(config: dict[str, Any]) -> dict[str, int]:
    """Rows of the label files that lie on this machine as JSONL; the others are assumed."""

    def rows(source: str) -> int | None:
        path = Path(source)
        if not is_local(source) or path.suffix != ".jsonl" or not path.is_file():
            return None
        with path.open("rb") as handle:
            return sum(1 for line in handle if line.strip())

    benchmarks = [rows(source) for source in config["evaluation"]["benchmarks"].values()]
    known = [count for count in benchmarks if count is not None]
    found = {"sft_pairs": rows(config["labels"]["sft"]), "judge_labels": rows(config["labels"]["judge"])}
    found["evaluation_prompts"] = round(sum(known) / len(known)) if known else None
    return {name: count for name, count in found.items() if count is not None}


def planned(paths: Sequence[str], config: dict[str, Any], left: bool) -> list[dict[str, Any]]:
    """What is known of every job of the main run as Snakemake plans it, those that it waits for first.

    Args:
        left: only what has to run now costs something, where a part of the run is there.
    """
    runs = run_configs(config)
    with plan(Path.cwd(), config["run"], paths, ["all"]) as dag:
        order = list(dag.toposorted())
        jobs = [job for level in order for job in level]
        places = {job: i for i, job in enumerate(jobs)}
        needed = set(dag.needrun_jobs()) if left else set(jobs)
        return [
            {
                "job": Job(
                    job.rule.name,
                    dict(job.wildcards_dict),
                    (spec_of(job) or {"config": {}})["config"],
                    runs[job.wildcards_dict.get("run", config["run"])],
                ),
                "stage": Path(job.rule.snakefile).stem,
                "threads": job.threads,
                "gpus": int(job.resources.get("gpu", 0) or 0),
                "runtime": 60.0 * float(job.resources.get("runtime", 0) or 0),
                "memory": 2**20 * float(job.resources.get("mem_mb", 0) or 0),
                "after": [places[other] for other in dag.dependencies[job]],
                "needed": job in needed,
            }
            for job in jobs
        ]


def stages() -> list[str]:
    """The stages in the order of the data: that of the includes of the Snakefile."""
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    return re.findall(r'^include: "rules/(\w+)\.smk"', text, flags=re.M)


def cost_of(
    jobs: list[dict[str, Any]], model: Model, device: Device, measured: dict[str, float], a: Assumed
) -> list[Cost]:
    """The jobs with their costs, in their order; one that need not run costs nothing."""
    on_gpu, found = device.gib > 0, []
    done: list[Work] = []
    for facts in jobs:
        job, gpus = facts["job"], facts["gpus"]
        before = [(jobs[i]["job"].rule, done[i]) for i in facts["after"]]
        work = costs.work(job, before, model, a)
        done.append(work)
        context = a.prompt_tokens + a.response_share * job.run["sampling"]["max_tokens"] / 2
        batch = costs.sequences(model, device, job.run["engine"], max(1, gpus), context)
        width = max(1, gpus) if on_gpu else facts["threads"]
        rate = costs.rates(model, device, width, batch, context, a)
        rate = Rates(*(measured.get(name, value) for name, value in zip(costs.RATES, rate, strict=True)))
        disk = (2 if on_gpu else 4) * model.parameters * costs.models_written(job.rule) + work.disk
        found.append(
            Cost(
                job,
                facts["stage"],
                Work(work.requests, work.read, work.written, work.trained, disk=disk),
                costs.seconds(work, rate, device.start) if facts["needed"] else 0.0,
                gpus,
                facts["runtime"],
                facts["memory"],
                costs.host_bytes(job, work, model, on_gpu),
                costs.gpu_bytes(job, model, max(1, gpus)) if on_gpu and gpus else 0.0,
                facts["after"],
            )
        )
    return found


def wall_time(jobs: list[Cost], gpus: int, slots: int | None = None) -> float:
    """Seconds from the first job to the last on so many GPUs, each job started as soon as it can be.

    Args:
        slots: jobs without a GPU that run side by side; None for any number.
    """
    waiting = [len(set(cost.after)) for cost in jobs]
    behind: list[list[int]] = [[] for _ in jobs]
    for i, cost in enumerate(jobs):
        for other in set(cost.after):
            behind[other].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    running: list[tuple[float, int]] = []
    now, free, places = 0.0, gpus, len(jobs) if slots is None else slots
    while ready or running:
        later = []
        for i in ready:
            needs = min(jobs[i].gpus, gpus)
            if (needs and needs > free) or (not needs and places < 1):
                later.append(i)
                continue
            free -= needs
            places -= not needs
            heapq.heappush(running, (now + jobs[i].seconds, i))
        ready = later
        now, i = heapq.heappop(running)
        needs = min(jobs[i].gpus, gpus)
        free += needs
        places += not needs
        for other in behind[i]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return now


def number(value: float) -> str:
    """12, 34k, 5.6M, 7.8G."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def span(seconds: float) -> str:
    """45 s, 12 min, 3.4 h, 5.6 days."""
    for size, unit in ((2 * 86400, "days"), (7200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit]:.3g} {unit}"
    return f"{seconds:.0f} s"


def table(rows: list[list[str]]) -> str:
    """Rows with aligned columns, all but the first to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


HEAD = ["stage", "jobs", "requests", "tokens read", "written", "trained", "GPU-hours", "longest job", "disk"]


def by_data(cost: Cost) -> int:
    """Place of a job's stage in the order of the data."""
    return [*stages(), cost.stage].index(cost.stage)


def by_stage(jobs: list[Cost]) -> str:
    """The table: one row per stage, in the order of the data, and all of them together."""
    rows = [HEAD]
    for stage in [*stages(), "all"]:
        some = [cost for cost in jobs if stage == cost.stage or (stage == "all" and cost.stage in stages())]
        if not some:
            continue
        total = [
            sum(getattr(c.work, name) for c in some) for name in ("requests", "read", "written", "trained")
        ]
        hours = sum(cost.gpus * cost.seconds for cost in some) / 3600
        longest = max(cost.seconds for cost in some)
        disk = sum(cost.work.disk for cost in some)
        row = [stage, str(len(some)), *(number(value) if value else "-" for value in total)]
        rows.append([*row, f"{hours:,.1f}" if hours else "-", span(longest), f"{disk / GIB:,.1f} GiB"])
    return table(rows)


def warnings(jobs: list[Cost], device: Device, config: dict[str, Any], a: Assumed) -> list[str]:
    """What will not do, rule by rule: time, memory of machine and GPU, prompts."""
    found, short = [], []
    for rule in dict.fromkeys(cost.job.rule for cost in jobs):
        some = [cost for cost in jobs if cost.job.rule == rule]
        slow = max(some, key=lambda cost: cost.seconds)
        if slow.runtime and slow.seconds > slow.runtime:
            hint = ""
            if rule in ("sample_responses", "score_responses"):
                fits = int(config["prompts_per_shard"] * slow.runtime / slow.seconds)
                hint = f"; prompts_per_shard: {max(1, fits)} would fit"
            found.append(f"{rule}: {span(slow.seconds)}, and its runtime is {span(slow.runtime)}{hint}")
        most = max(cost.gpu_bytes for cost in some) / GIB
        share = 1.0 if rule.startswith("train_") else config["engine"]["gpu_memory_utilization"]
        if most > device.gib * share > 0:
            gpus = "1 GPU, which has" if slow.gpus == 1 else f"{slow.gpus} GPUs, which have"
            found.append(f"{rule}: {most:.0f} GiB on each of its {gpus} {device.gib * share:.0f}")
        big = max(some, key=lambda cost: cost.host - cost.memory)
        if big.memory and big.host > big.memory:
            short.append(f"{rule} {big.host / GIB:.0f} of {big.memory / GIB:.0f}")
    if short:
        found.append(f"mem_mb is less than jobs need (GiB needed of GiB asked for): {', '.join(short)}")
    dry = costs.enough_prompts(config, a)
    return found + ([dry] if dry else [])


def figures_of(path: str | None) -> dict[str, float]:
    """Measured tokens per second by kind (`costs.RATES`), of a file that `make gpu-check` wrote.

    Raises:
        InputError: it is no such file.
    """
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: float(found[name]) for name in costs.RATES if name in found}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--figures {path}: found {error}, expected a JSON of {costs.RATES}") from error


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="plan", description="What a run will cost, stage by stage, before it is paid for."
    )
    parser.add_argument("config", nargs="*", help="config files, later ones over earlier ones; config.yaml")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs that all jobs share (8)")
    parser.add_argument(
        "--gpu", choices=sorted(costs.DEVICES), help="kind of device (h100, or cpu by the config)"
    )
    parser.add_argument("--cores", type=int, default=2, help="cores of a run without GPUs (2)")
    parser.add_argument("--parameters", type=float, help="weights of the model, as in 8e9")
    parser.add_argument("--model-config", help="the model's config.json")
    parser.add_argument("--figures", help="JSON with measured tokens/s of one job: decode, prefill, train")
    parser.add_argument("--left", action="store_true", help="only what is still to do")
    for field in fields(Assumed):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), help=f"({field.default})",
        )  # fmt: skip
    return parser.parse_args(given)


def report(options: argparse.Namespace) -> str:
    """All that the command prints.

    Raises:
        InputError: the config is wrong, or the model's size is not known.
    """
    paths = options.config or [str(ROOT / "config.yaml")]
    config = load_config(paths)
    source = config["base_model"]
    model, where = model_of(
        source if isinstance(source, str) else source["source"], options.parameters, options.model_config
    )
    given = {field.name: getattr(options, field.name) for field in fields(Assumed)}
    a = Assumed(**(counted(config) | {name: value for name, value in given.items() if value is not None}))
    jobs = planned(paths, config, options.left)
    name = options.gpu or ("h100" if any(facts["gpus"] for facts in jobs) else "cpu")
    device = costs.DEVICES[name]
    measured = figures_of(options.figures)
    found = cost_of(jobs, model, device, measured, a)
    threads = config["engine"]["threads"]
    slots = None if device.gib else max(1, options.cores // threads)
    wall = wall_time(found, options.gpus, slots)
    hours = sum(cost.gpus * cost.seconds for cost in found) / 3600
    lines = [by_stage(found), ""]
    busy = f", {hours / max(wall / 3600 * options.gpus, 1e-9):.0%} of which work at a time on average"
    what = f"{options.gpus} GPUs ({name}){busy}" if device.gib else f"{options.cores} cores"
    lines.append(f"wall time: {span(wall)} on {what}")
    lines.append(f"peak memory of a job: {max(cost.host for cost in found) / GIB:.0f} GiB of the machine")
    if device.gib:
        lines[-1] += f", {max(cost.gpu_bytes for cost in found) / GIB:.0f} GiB of each of its GPUs"
    told = warnings(sorted(found, key=by_data), device, config, a)
    lines += ["", "what will not do:", *(f"  {text}" for text in told)] if told else ["", "no warning"]
    lines += ["", "assumed (options of this command):"]
    lines.append(
        f"  {number(model.parameters)} weights, by {where}; {model.cache_bytes:.0f} bytes of cache per token"
    )
    lines += [f"  {field.name} = {getattr(a, field.name)}" for field in fields(a)]
    rated = [f"{key} {value:.0f} (measured)" for key, value in measured.items()]
    lines.append(
        "  tokens/s of one job: " + (", ".join(rated) if rated else "by arithmetic from the device's peaks")
    )
    lines.append("  a job that waits for nothing starts at once: no queue of a cluster, no failed job")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    try:
        print(report(arguments(given)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
