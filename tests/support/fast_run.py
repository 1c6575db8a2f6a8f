"""The whole workflow in seconds: a copy of it with stand-ins for vLLM, TRL, transformers,
matplotlib and Snakemake's report.

Everything else is real: Snakemake, the rules, the scripts, tables, selection, records. The
copy is a folder of its own, so a test may edit its scripts and data.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import warm
import yaml

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = ROOT / "tests" / "support" / "stand_ins"
PARTS = (
    "Snakefile",
    "config.yaml",
    "rules",
    "scripts",
    "tools",
    "schemas",
    "templates",
    "report",
    "envs",
    "profiles",
    "tests/data",
)

# The smallest run in which a round has a latest model to sample from.
SMALL = {
    "run": "small",
    "base_model": {"source": "base.txt", "chat_template": "templates/chatml.jinja"},
    "engine": {"threads": 1, "max_model_len": 20_000},  # the stand-in's tokens are characters
    "labels": {"sft": "data/sft.jsonl", "judge": "data/judge.jsonl"},
    "prompts": {
        "shards": 1,
        "raw_per_shard": 60,
        "max_tokens": 64,
        "clusters": 8,
        "min_words": 3,
        "min_function_words": 0,  # the stand-in's words are nouns
        "near_duplicate": 0.9,
        "embedding_dimensions": 3,
        "cells": 2,
    },
    "rounds": 3,
    "prompts_per_round": 3,
    "prompts_per_shard": 3,
    "samples_per_prompt": 4,
    "samples_per_block": 4,
    "checkpoints": {"sft": 1, "sample": ["sft-0", "latest"]},
    "judge": {"heldout_fraction": 0.2, "distillation": {"pairs": 4, "replay": 6}},
    "training": {"threads": {"sft": 1, "judge": 1, "rounds": 1}},
    "evaluation": {
        "benchmarks": {"everyday": "data/eval.jsonl"},
        "resamples": 100,
        "selection": {"prompts": 3, "samples": 4},
    },
}


def merged(base, override):
    """`override` laid over `base`, key by key."""
    found = dict(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found


class FastRun:
    """A working folder that holds the copy, its data and its results."""

    def __init__(self, folder):
        self.folder, self.config = Path(folder), SMALL

    @classmethod
    def make(cls, folder):
        """A new copy, with data of a few rows."""
        self = cls(folder)
        for name in PARTS:
            source = ROOT / name
            target = self.folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        for name in ("engine", "tokenizer", "training", "pooling", "figures"):
            shutil.copy(STAND_INS / f"{name}.py", self.folder / "scripts" / "alma")
        with (self.folder / "scripts" / "alma" / "files.py").open("a") as handle:
            for name in ("no_pandas", "killer"):
                handle.write((STAND_INS / f"{name}.py").read_text())
        for name in ("base_model", "render_report"):
            shutil.copy(STAND_INS / f"{name}.py", self.folder / "scripts")
        (self.folder / "data").mkdir()
        for name, rows in (("sft", 16), ("judge", 30), ("eval", 6), ("hard", 6)):
            lines = (ROOT / "data" / f"{name}.jsonl").read_text().splitlines()[:rows]
            (self.folder / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        (self.folder / "base.txt").write_text("weights of the base model")
        return self

    def copy(self, folder):
        """The same state somewhere else, time stamps kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        other = FastRun(folder)
        other.config = self.config
        return other

    def path(self, name):
        return self.folder / "results" / self.config["run"] / name

    def command(self, *arguments, cores=2):
        (self.folder / "my.yaml").write_text(yaml.safe_dump(self.config))
        return [
            sys.executable,
            "-m",
            "snakemake",
            *arguments,
            *("--cores", str(cores), "--configfile", "my.yaml"),
        ]

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "SNAKEMAKE_"))}
        return kept | more

    def run(self, *arguments, cores=2, **environment):
        """Run snakemake to its end."""
        command = self.command(*arguments, cores=cores)
        return warm.run(command, cwd=self.folder, env=self.environment(**environment))

    def start(self, *arguments, cores=2, **environment):
        """Start snakemake and return at once; what it prints goes to printed.txt."""
        with (self.folder / "printed.txt").open("w") as handle:
            return subprocess.Popen(
                self.command(*arguments, cores=cores),
                cwd=self.folder,
                env=self.environment(**environment),
                stdout=handle,
                stderr=subprocess.STDOUT,
            )

    def finish(self, *arguments, cores=2):
        """Run snakemake; it must end well. Returns what it printed."""
        done = self.run(*arguments, cores=cores)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout + done.stderr

    def logs(self):
        """Time of the log of each job that has run: {path below logs/: ns}."""
        results = self.folder / "results"
        found = {str(path.relative_to(results)): path for path in results.glob("*/logs/**/*.log")}
        return {name.replace("/logs/", "/"): path.stat().st_mtime_ns for name, path in found.items()}

    def finished(self):
        """Logs of the jobs that have ended well: Snakemake writes a benchmark file for each."""
        results = self.folder / "results"
        found = {str(path.relative_to(results)) for path in results.glob("*/benchmarks/**/*.tsv")}
        return {name.replace("/benchmarks/", "/").removesuffix(".tsv") + ".log" for name in found}

    def update(self, *arguments, cores=2):
        """Run after a change: (planned jobs by rule, set of jobs that ran, all that was printed)."""
        before = self.logs()
        printed = self.finish(*arguments, cores=cores)
        after = self.logs()
        ran = {name.removesuffix(".log") for name, time in after.items() if before.get(name) != time}
        return planned(printed), ran, printed

    def artifacts(self):
        """Content of every artifact: {path below results/: bytes}, records and logs left out."""
        out = {}
        for path in sorted((self.folder / "results").rglob("*")):
            name = str(path.relative_to(self.folder / "results"))
            skipped = re.search(r"/(logs|benchmarks|provenance)/|provenance\.json$", name)
            if path.is_file() and not skipped:
                out[name] = path.read_bytes()
        return out


def planned(printed):
    """Jobs by rule in Snakemake's table of a plan; empty where nothing is to be done."""
    found = Counter()
    for line in printed.partition("Job stats:")[2].splitlines()[1:]:
        words = line.split()
        if len(words) == 2 and words[1].isdigit():
            if words[0] == "total":
                break
            found[words[0]] = int(words[1])
    found.pop("all", None)
    return found
