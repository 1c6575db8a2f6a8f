"""Train a judge on a file of judged rows and measure it on another, outside the workflow.

    .venv/bin/python tools/judge_trial.py TRAIN.jsonl TEST.jsonl --base results/default/models/base \
        --table trials.csv --seeds 0 1 2 --set last_layers=15 --set epochs=3

Reads:
    TRAIN: JSON Lines with prompt, response, score (0-10); several rows of one response are annotators.
    TEST: JSON Lines with prompt, response, truth (a number) and, where there is one, kind (text).
    The settings of the judge and the engine: those of --configfile, changed by each --set, whose key is one
    of `judge` (`loss.ranking`, `dtype`) or of `judge.training` (`epochs`).
Writes:
    --table: one row per settings and seed. A row that is there is not measured again, so a trial that was
    killed goes on where it was; so does its training.

The checkpoint that is trained is deleted once it is measured, unless --keep names a folder for it.
"""

import argparse
import copy
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.errors import InputError
from alma.ids import content_id

COLUMNS = (
    *("data", "settings", "seed", "rows", "prompts", "pairs", "pair_accuracy", "pair_low", "pair_high"),
    *("n", "random", "judge", "best", "judge_minus_random", "gain_low", "gain_high"),
    *("spearman", "spearman_within", "spread", "by_kind", "training_seconds", "scoring_seconds"),
)
RESAMPLES = 2000


def read_rows(path: Path, number: str) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file with prompt, response and the number of that name.

    Raises:
        InputError: names file, line, column, what was found and what is expected.
    """
    rows: list[dict[str, Any]] = []
    annotators: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected JSON Lines") from error
    for index, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}:{index}: no JSON ({error}); expected one object per line") from error
        for key, kinds in (("prompt", str), ("response", str), (number, (int, float))):
            if not isinstance(row, dict) or not isinstance(row.get(key), kinds):
                found = row.get(key) if isinstance(row, dict) else row
                expected = "a text" if kinds is str else "a number"
                raise InputError(f"{path}:{index}, {key}: found {found!r}, expected {expected}")
        response_id = content_id(row["prompt"], row["response"])
        annotators[response_id] = annotators.get(response_id, -1) + 1
        rows.append(
            row
            | {"prompt_id": content_id(row["prompt"]), "response_id": response_id}
            | {"annotator": annotators[response_id]}
        )
    if not rows:
        raise InputError(f"{path}: found no row, expected at least one")
    return rows


def changed(config: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A config with `KEY=VALUE` (YAML) laid over its `judge.training`, or over `judge` for a key of that."""
    import yaml

    from alma.workflow.config import load_schema, merge

    keys = load_schema()["properties"]["judge"]["properties"]
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set: found {change!r}, expected KEY=VALUE")
        path = key.removeprefix("judge.").split(".")
        value = yaml.safe_load(text)
        for part in reversed(["judge", *([] if path[0] in keys else ["training"]), *path]):
            value = {part: value}
        config = merge(config, value)
    return config


def measures(
    rows: list[dict[str, Any]], scores: Sequence[float | None], n: int, tolerance: float = 0.0
) -> dict[str, Any]:
    """What a judge's scores are worth on responses with a truth (`alma.selection_quality`).

    Args:
        rows: prompt_id, truth and kind of each response.
        scores: of each row, on 0-10; None where the judge gave none: such a response is never chosen.
        n: responses to choose from.
        tolerance: scores this close tie.
    """
    from alma.selection_quality import ALL_KINDS, Pool, measures_of
    from alma.statistics import spearman

    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["prompt_id"], []).append(i)
    pools = []
    for group in groups.values():
        kept = [(score, float(rows[i]["truth"])) for i in group if (score := scores[i]) is not None]
        if kept:
            given, truth = zip(*kept, strict=True)
            kind = str(rows[group[0]].get("kind", ALL_KINDS))
            pools.append(Pool(kind, len(group), given, truth, [0.0] * len(kept)))

    def figures(pools: list[Pool], kind: str) -> dict[tuple[str, str], dict[str, Any]]:
        found = measures_of(pools, kind, [n], tolerance=tolerance, resamples=RESAMPLES, seed="judge_trial")
        return {(row["measure"], row["choice"]): row for row in found}

    found = figures(pools, ALL_KINDS)
    accuracy, gain = found["pair_accuracy", ""], found["judge_minus_random", ""]
    by_kind = {}
    for kind in sorted({pool.kind for pool in pools}):
        own = figures([pool for pool in pools if pool.kind == kind], kind)["pair_accuracy", ""]
        if own["pairs"]:
            by_kind[kind] = f"{kind} {own['value']:.3f} ({own['pairs']})"
    read = [score for pool in pools for score in pool.scores], [t for pool in pools for t in pool.truth]
    return {
        "rows": len(rows),
        "prompts": len(groups),
        "pairs": accuracy["pairs"],
        "pair_accuracy": accuracy["value"],
        "pair_low": accuracy["low"],
        "pair_high": accuracy["high"],
        "n": n,
        **{choice: found["quality", choice]["value"] for choice in ("random", "judge", "best")},
        "judge_minus_random": gain["value"],
        "gain_low": gain["low"],
        "gain_high": gain["high"],
        "spearman": spearman(*read),
        "spearman_within": found["correlation_within", ""]["value"],
        "spread": found["score_spread", ""]["value"],
        "by_kind": "; ".join(by_kind.values()),
    }


def trial(
    train: list[dict[str, Any]],
    test: list[dict[str, Any]],
    base: Path,
    checkpoint: Path,
    config: dict[str, Any],
    seed: int,
    n: int,
) -> dict[str, Any]:
    """Train the judge on `train` as the workflow does and measure it on `test`."""
    from train_judge_seed import main as train_judge_seed

    from alma.engine import open_engine
    from alma.judging import score_pairs
    from alma.tables import SCHEMAS, write_table

    start = time.perf_counter()
    seeds, curve = (checkpoint.with_name(f"{checkpoint.name}{end}") for end in (".parquet", ".csv"))
    names = SCHEMAS["judge"].names
    write_table(seeds, "judge", [{name: row[name] for name in names} for row in train])
    train_judge_seed(
        base,
        seeds,
        checkpoint,
        curve,
        seed=[seed, "judge-seed"],
        device=config["engine"]["device"],
        training=config["judge"]["training"],
        loss=config["judge"]["loss"],
        balance=config["judge"]["balance"],
    )
    middle = time.perf_counter()
    dtype = config["judge"]["dtype"]
    read = {"head_dtype": "float32"} if dtype == "auto" else {"dtype": dtype, "head_dtype": dtype}
    found = score_pairs(
        open_engine(checkpoint, config["engine"] | read),
        [(row["prompt"], row["response"]) for row in test],
        min_mass=config["judge"]["min_mass"],
        reading=config["judge"]["reading"],
        score=config["judge"]["score"],
    )
    end = time.perf_counter()
    seconds = {"training_seconds": round(middle - start), "scoring_seconds": round(end - middle)}
    tolerance = config["training"]["tie_tolerance"]
    return measures(test, [row["score"] for row in found], n, tolerance) | seconds


def shown(value: Any) -> str:
    """A value in the table: floats with four digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def told(row: dict[str, Any]) -> str:
    """The line that tells the figures of a trial."""
    text = {key: shown(value) for key, value in row.items()}
    accuracy = f"pair accuracy {text['pair_accuracy']} [{text['pair_low']}, {text['pair_high']}]"
    gain = f"gain {text['judge_minus_random']} [{text['gain_low']}, {text['gain_high']}]"
    return (
        f"{text['settings']}, seed {text['seed']}: {accuracy} on {text['pairs']} pairs; "
        f"choice of {text['n']}: judge {text['judge']}, random {text['random']}, best {text['best']}, "
        f"{gain}; Spearman {text['spearman']}, within prompts {text['spearman_within']}; {text['by_kind']}; "
        f"{text['training_seconds']} s of training, {text['scoring_seconds']} s of scoring"
    )


def main() -> None:
    """Measure every seed that the table does not have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--base", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--table", type=Path, required=True, help="CSV to append to")
    parser.add_argument(
        "--configfile", type=Path, default=Path(__file__).resolve().parents[1] / "config.yaml"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--choose-from", type=int, default=8, metavar="N", help="n of the choice of n")
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints; without it they are deleted")
    args = parser.parse_args()
    if len(args.seeds) > 1:  # a process for each: an engine's memory is not given back while it lives
        options = sys.argv[1:]
        for seed in args.seeds:
            if code := subprocess.run([sys.executable, __file__, *options, "--seeds", str(seed)]).returncode:
                sys.exit(code)
        return

    import yaml

    from alma.workflow.config import check_config
    from alma.workflow.job import limit_threads

    config = changed(yaml.safe_load(args.configfile.read_text(encoding="utf-8")), args.changes)
    # Before the defaults: a key that is new to the schema changes no trial that is already measured.
    settings = copy.deepcopy([config.get("judge"), config.get("engine"), str(args.base)])
    check_config(config, "judge_trial")
    train, test = read_rows(args.train, "score"), read_rows(args.test, "truth")
    data = content_id([sorted(row.items()) for row in (*train, *test)], args.choose_from)
    name = f"{' '.join(sorted(args.changes)) or 'as configured'} #{content_id(settings)[:8]}"
    done = set()
    if args.table.is_file():
        with args.table.open(encoding="utf-8", newline="") as file:
            done = {(row["data"], row["settings"], row["seed"]) for row in csv.DictReader(file)}
    limit_threads(config["training"]["threads"]["judge"])
    kept = args.keep or args.table.with_name(f"{args.table.name}.work")
    for seed in args.seeds:
        if (data, name, str(seed)) in done:
            print(f"{name}, seed {seed}: already in {args.table}")
            continue
        folder = kept.resolve() / f"{content_id(settings, data)[:8]}-{seed}"
        checkpoint = folder / "judge"
        folder.mkdir(parents=True, exist_ok=True)
        found = trial(train, test, args.base, checkpoint, config, seed, args.choose_from)
        row = {"data": data, "settings": name, "seed": seed} | found
        with args.table.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({key: shown(row[key]) for key in COLUMNS})
            file.flush()
            os.fsync(file.fileno())
        if args.keep is None:
            shutil.rmtree(folder)
        print(told(row), flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
