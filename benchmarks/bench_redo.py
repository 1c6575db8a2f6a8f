"""What it costs to redo work: alma, a plain loop of scripts, and distilabel, at the same small work.

Run: make bench   (or: .venv/bin/python benchmarks/bench_redo.py [--ways alma loop distilabel] [--repeats 1])
distilabel needs an environment of its own, `bash envs/distilabel.sh`, and is left out without it.

The work: the base model writes prompts, a checkpoint samples responses to those of a round, a judge scores
them, the best of each prompt is kept. The models (the tests' tiny one, pretrained for half a minute; an SFT
checkpoint and a judge that alma trains of it) are made first and are no part of any figure. All ways get the
same few-shot contexts, engine options and sizes, one thread per engine, and two cores:

alma            Snakemake up to rounds/{round}/selected; also filters, embeds and clusters the prompts
loop            benchmarks/ways/plain_loop: one script per stage, JSONL between them, a file that is there is
                not made again; the judge's rating is read from the text that it writes
distilabel      benchmarks/ways/distilabel_pipeline.py: its vLLM class, its cache, the rating as in the loop

Each way does the whole; runs again with nothing to do; redoes after the judge was retrained in its place
(where it does not notice that, a person helps, and the redo after that counts); adds the next round; and goes
on in a fresh folder after SIGKILL to all its processes, when they have used 90% of the whole's CPU time.
Before that a file of samples is cut in half, as a full disk leaves it. What a way notices is found by
comparing what it keeps with what it kept before.

--model takes another base model (as base_model.source of a config), --prompts, --samples and --raw other
sizes; --folder keeps the models for the next time.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
WAYS = ROOT / "benchmarks" / "ways"
STEPS = ("the whole", "nothing to do", "another judge", "the next round", "after a kill")
JUDGES = {"a": 3.0e-3, "b": 2.0e-3}  # learning rates: two judges of the same labels
STALLED = 300.0, 2.0  # a run that uses fewer CPU seconds in so many seconds is ended
ENGINE = {  # what alma.engine gives vLLM on a CPU
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 64,
    "enable_prefix_caching": True,
    "generation_config": "vllm",
    "enforce_eager": True,
    "block_size": 32,
    "enable_chunked_prefill": False,
    "max_num_batched_tokens": 2048,
    "disable_log_stats": True,
}


@dataclass
class Done:
    """A finished run: seconds, CPU seconds of all its processes, exit status (None: cut short), output."""

    wall: float
    cpu: float
    status: int | None
    text: str


def pids_of(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def cpu_of(group: int) -> float:
    """CPU seconds of a group of processes, and of those of their children that have ended."""
    ticks = 0
    for pid in pids_of(group):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ends within so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run(command: list[str], log: Path, kill_at: float | None = None) -> Done:
    """Run a command in a group of its own; `kill_at`: CPU seconds after which all of it is killed."""
    from alma.library_variables import for_every_job, for_the_engine

    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "SNAKEMAKE_"))}
    environment |= for_every_job(1) | for_the_engine(gpu=False)
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("w") as handle:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=handle, stderr=handle, process_group=0
        )
        killed, seen = False, (start, 0.0)
        while not ended(process, 20.0 if kill_at is None else 0.5):
            now, used = time.perf_counter(), cpu_of(process.pid)
            stalled = now - seen[0] > STALLED[0] and used - seen[1] < STALLED[1]
            if stalled or (kill_at is not None and used >= kill_at):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed = True
            elif now - seen[0] > STALLED[0]:
                seen = now, used
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    while killed and (left := pids_of(process.pid)):
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Done(wall, cpu, None if killed else process.returncode, log.read_text(errors="replace"))


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    os.truncate(path, path.stat().st_size // 2)


class Alma:
    """The workflow, in a folder in which the models are there."""

    helped = "nothing: it is noticed"

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config, self.judge = folder, config, "a"
        self.results = folder / "results" / config["run"]

    def command(self, last: int) -> list[str]:
        return self.snakemake(last, f"rounds/{last}/selected/0.parquet")

    def snakemake(self, last: int, *targets: str) -> list[str]:
        config = self.config | {"rounds": last}
        config["judge"] = config["judge"] | {
            "training": config["judge"]["training"] | {"learning_rate": JUDGES[self.judge]}
        }
        (self.folder / "my.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(self.folder)]
        command += ["--cores", "2", "--workflow-profile", str(ROOT / "profiles" / "default")]
        command += ["--configfile", str(ROOT / "config" / "test.yaml"), str(self.folder / "my.yaml")]
        return [*command, "--", *(f"results/{self.config['run']}/{name}" for name in targets)]

    def retrain(self, judge: str) -> None:
        """The judge in its place; no part of a figure."""
        self.judge = judge
        checked(run(self.snakemake(2, "models/judge-seed/model.safetensors"), self.folder / "judge.log"))

    def kept(self, round_: int) -> list[tuple[str, str, float]]:
        from alma.tables import read_table

        path = self.results / f"rounds/{round_}/selected/0.parquet"
        rows = read_table(path, "selected") if path.is_file() else []
        return sorted((row["prompt"], row["chosen"], row["chosen_score"]) for row in rows)

    def damage(self, round_: int) -> None:
        cut(self.results / f"rounds/{round_}/samples/sft-0/0-0.parquet")
        shutil.rmtree(self.results / f"rounds/{round_}/scores")
        shutil.rmtree(self.results / f"rounds/{round_}/selected")

    def share(self) -> str:
        """Where the CPU seconds of its jobs went, by Snakemake's own measure."""
        engines, others = 0.0, 0.0
        for path in (self.results / "benchmarks").rglob("*.tsv"):
            head, values = (line.split("\t") for line in path.read_text().splitlines()[:2])
            rule = path.relative_to(self.results / "benchmarks").parts[0].removesuffix(".tsv")
            seconds = float(dict(zip(head, values, strict=True))["cpu_time"])
            if rule in ("synthesize_prompts", "sample_responses", "score_responses"):
                engines += seconds
            elif rule not in SETUP:
                others += seconds
        return f"jobs with an engine {engines:.0f}, other jobs {others:.0f}"


class Loop:
    """The plain loop of scripts."""

    python = sys.executable
    helped = "the judge's scores and what was kept of them, deleted by hand"

    def __init__(self, folder: Path, settings: dict[str, Any], judges: dict[str, Path]) -> None:
        self.folder, self.judges = folder, judges
        folder.mkdir(parents=True)
        self.models = folder / "models"
        for name, source in (*settings["models"].items(), ("judge", judges["a"])):
            shutil.copytree(source, self.models / name, ignore=shutil.ignore_patterns(".*"))
        own = settings | {
            "models": {name: str(self.models / name) for name in (*settings["models"], "judge")}
        }
        self.settings = folder / "settings.json"
        self.settings.write_text(json.dumps(own))

    def command(self, last: int) -> list[str]:
        script = str(WAYS / "plain_loop" / "run.sh")
        return ["bash", script, self.python, str(self.settings), str(self.folder), str(last)]

    def retrain(self, judge: str) -> None:
        shutil.copytree(self.judges[judge], self.models / "judge", dirs_exist_ok=True)

    def help(self) -> None:
        """What a person does who knows that the judge is another."""
        for name in ("scores", "best"):
            (self.folder / "round-2" / f"{name}.jsonl").unlink()

    def kept(self, round_: int) -> list[tuple[str, str, float]]:
        path = self.folder / f"round-{round_}" / "best.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            return sorted((row["prompt"], row["response"], row["score"]) for row in rows)
        except (FileNotFoundError, ValueError):
            return []

    def damage(self, round_: int) -> None:
        at = self.folder / f"round-{round_}"
        cut(at / "samples.jsonl")
        for name in ("scores", "best"):
            (at / f"{name}.jsonl").unlink(missing_ok=True)


class Distilabel(Loop):
    """A distilabel pipeline for the prompts and one for each round."""

    python = os.environ.get("ALMA_DISTILABEL_VENV", str(ROOT / ".venv-distilabel")) + "/bin/python"
    helped = "use_cache=False written at the judge's step"
    again: tuple[str, ...] = ()

    def command(self, last: int) -> list[str]:
        script = str(WAYS / "distilabel_pipeline.py")
        return [self.python, script, str(self.settings), str(self.folder), str(last), *self.again]

    def help(self) -> None:
        self.again = ("judge",)

    def damage(self, round_: int) -> None:
        cache = self.folder / "cache" / f"round-{round_}"
        for path in (cache / "steps_data").glob("sample_*/*.json"):
            cut(path)
        for path in cache.iterdir():  # the runs, and the steps after the samples
            if path.name != "steps_data":
                shutil.rmtree(path)
        for name in ("judge", "best"):
            for path in (cache / "steps_data").glob(f"{name}_*"):
                shutil.rmtree(path)
        (self.folder / f"round-{round_}" / "best.jsonl").unlink(missing_ok=True)


SETUP = ("read_seeds", "base_model", "check_lengths", "build_sft_dataset", "train_sft", "train_judge_seed")


def checked(done: Done) -> Done:
    """The run, which must have ended well."""
    if done.status != 0:
        sys.exit(f"a run failed ({done.status}):\n{done.text[-4000:]}")
    return done


def measure(way: str, make: Callable[[str], Any], folder: Path) -> dict[str, Done | str]:
    """All steps of one way: {step: its run}, and what it noticed: {question: answer}."""
    log, found = folder / f"{way}.log", {}
    one = make(way)
    whole = found["the whole"] = checked(run(one.command(2), log))
    before = one.kept(2)
    if not before:
        sys.exit(f"{way}: nothing was kept in round 2")
    if isinstance(one, Alma):
        found["alma's CPU seconds of the whole"] = one.share()
    found["nothing to do"] = checked(run(one.command(2), log))
    one.retrain("b")
    done, noticed = checked(run(one.command(2), log)), one.kept(2) != before
    if not noticed:
        one.help()
        done = checked(run(one.command(2), log))
    found["another judge"] = done
    found["a judge retrained in its place is"] = (
        "noticed" if noticed else f"not noticed; helped: {one.helped}"
    )
    if one.kept(2) == before:
        found["a judge retrained in its place is"] += "; the old scores are still there"
    found["the next round"] = checked(run(one.command(3), log))
    if not one.kept(3) or {row[0] for row in one.kept(3)} & {row[0] for row in before}:
        sys.exit(f"{way}: round 3 kept nothing, or has prompts of round 2")
    one.damage(3)
    done = run(one.command(3), log)
    found["half a file of samples is"] = (
        f"noticed: the run stops ({last_words(done.text)})"
        if done.status
        else f"not noticed: {len(one.kept(3))} kept"
    )
    fresh = make(f"{way}-killed")
    died = run(fresh.command(2), log, kill_at=0.9 * whole.cpu)
    found["killed"] = (
        f"{'yes' if died.status is None else 'no, it ended before'}, {died.wall:.0f} s after its start"
    )
    done = found["after a kill"] = run(fresh.command(2), log)
    same = fresh.kept(2) == before
    found["after the kill the result is"] = (
        "the same"
        if same
        else f"another: {len(fresh.kept(2))} prompts kept in place of {len(before)}, "
        f"exit status {done.status}"
    )
    return found


def last_words(text: str) -> str:
    """The line of a failed run's output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "")[:160]


def prepare(folder: Path, options: argparse.Namespace) -> Callable[[str], Any]:
    """Make the models; returns what makes a way in a folder of its own."""
    import tiny_model

    from alma.fewshot import STOP, layout
    from alma.judging import judge_messages

    tiny = folder / "tiny"
    if not options.model and not tiny.exists():
        tiny_model.write_pretrained(tiny)
    source = options.model or str(tiny)
    writing = {"max_tokens": 48, "temperature": 0.7, "top_p": 0.95}
    sampling = {"max_tokens": 48, "temperature": 0.7, "top_p": 1.0}
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "test.yaml").read_text())
    config |= {
        "base_model": config["base_model"] | {"source": source},
        "engine": config["engine"] | {"max_num_seqs": ENGINE["max_num_seqs"]},
        "prompts": config["prompts"] | writing | {"raw_per_shard": options.raw, "clusters": options.prompts},
        "prompts_per_round": options.prompts,
        "prompts_per_shard": options.prompts,
        "samples_per_prompt": options.samples,
        "samples_per_block": options.samples,
        "checkpoints": {"sft": 1, "sample": ["sft-0"]},
        "sampling": sampling,
        "judge": config["judge"] | {"checkpoint": "judge-seed", "min_mass": 0.0, "max_unreadable": 1.0},
    }
    for key in ("sft", "judge"):
        config["labels"][key] = str(ROOT / config["labels"][key])
    config["evaluation"]["benchmarks"] = {"everyday": str(ROOT / "tests" / "data" / "eval.jsonl")}
    made = Alma(folder / "models", config)
    made.folder.mkdir(parents=True, exist_ok=True)
    targets = [f"models/{name}/model.safetensors" for name in ("sft-0", "judge-seed")]
    print("making the models", flush=True)
    checked(run(made.snakemake(2, *targets), folder / "models.log"))
    models = made.results / "models"
    judges = {"a": folder / "judge-a", "b": folder / "judge-b"}
    if not judges["b"].exists():
        other = Alma(folder / "other", config)
        shutil.copytree(made.folder, other.folder, dirs_exist_ok=True)
        other.retrain("b")
        shutil.copytree(models / "judge-seed", judges["a"])
        shutil.copytree(other.results / "models" / "judge-seed", judges["b"])
    lines = (ROOT / "tests" / "data" / "sft.jsonl").read_text().splitlines()
    seeds = [json.loads(line)["prompt"] for line in lines]
    settings = {
        "models": {"base": str(models / "base"), "sampled": str(models / "sft-0")},
        "engine": ENGINE,
        "contexts": [
            layout([seeds[(7 * i + 11 * j) % len(seeds)] for j in range(4)]) for i in range(options.raw)
        ],
        "stop": list(STOP),
        "writing": writing,
        "sampling": sampling,
        "judging": {"max_tokens": 12, "temperature": 0.0},
        "question": judge_messages("{prompt}", "{response}")[0]["content"],
        "prompts_per_round": options.prompts,
        "samples": options.samples,
        "batch": 50,  # distilabel's own number of rows
    }

    def make(name: str) -> Any:
        kind = name.partition("-")[0]
        if kind == "alma":
            shutil.copytree(made.folder, folder / name)
            return Alma(folder / name, config)
        return (Loop if kind == "loop" else Distilabel)(folder / name, settings, judges)

    return make


def main(options: argparse.Namespace) -> None:
    """Measure every way and print the table."""
    ways = [way for way in options.ways if way != "distilabel" or Path(Distilabel.python).exists()]
    if len(ways) < len(options.ways):
        print(f"distilabel is left out: no {Distilabel.python}; `bash envs/distilabel.sh` makes it")
    figures: dict[tuple[str, str], list[Done]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(options.folder or name)
        make = prepare(folder, options)
        for _, way in itertools.product(range(options.repeats), ways):
            for used in (folder / way, folder / f"{way}-killed"):
                shutil.rmtree(used, ignore_errors=True)
            for step, value in measure(way, make, folder).items():
                if isinstance(value, Done):
                    figures.setdefault((way, step), []).append(value)
                    value = f"{value.wall:.1f} s, {value.cpu:.1f} CPU s"
                print(f"{way}, {step}: {value}", flush=True)
    print(f"{'CPU seconds (wall seconds)':26}" + "".join(f"{way:>16}" for way in ways))
    for step in STEPS:
        cells = [
            (median(d.cpu for d in figures[w, step]), median(d.wall for d in figures[w, step])) for w in ways
        ]
        print(f"{step:26}" + "".join(f"{f'{cpu:.1f} ({wall:.1f})':>16}" for cpu, wall in cells))
    for step in STEPS:
        first = median(d.cpu for d in figures[ways[0], step])
        ratios = [median(d.cpu for d in figures[way, step]) / first for way in ways]
        print(f"{step + ', to ' + ways[0]:26}" + "".join(f"{ratio:>16.2f}" for ratio in ratios))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", nargs="?", help="not used: what `make bench` hands to all benchmarks")
    parser.add_argument("--ways", nargs="+", default=["alma", "loop", "distilabel"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--model", help="base_model.source; default: the tests' tiny model")
    parser.add_argument("--folder", help="where models are made and kept for the next time; default: nowhere")
    parser.add_argument("--prompts", type=int, default=24, help="prompts per round")
    parser.add_argument("--samples", type=int, default=8, help="responses per prompt")
    parser.add_argument("--raw", type=int, default=300, help="prompts to write")
    main(parser.parse_args())
