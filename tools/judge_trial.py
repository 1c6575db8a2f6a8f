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
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
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


def choice_of(n: int, scores: Sequence[float], truths: Sequence[float]) -> float:
    """Mean truth of the choice by score among n of a prompt's responses, over all sets of n of them.

    Responses with equal scores are chosen equally often. A prompt with fewer than n counts with all it has.
    """
    from alma.statistics import best_of_weights

    by_score: dict[float, list[float]] = {}
    for score, truth in zip(scores, truths, strict=True):
        by_score.setdefault(score, []).append(truth)
    means = [fmean(by_score[score]) for score in sorted(scores)]
    weights = best_of_weights(len(means))[min(n, len(means)) - 1]
    return math.fsum(w * t for w, t in zip(weights.tolist(), means, strict=True))


def measures(rows: list[dict[str, Any]], scores: Sequence[float | None], n: int) -> dict[str, Any]:
    """What a judge's scores are worth on responses with a truth.

    Args:
        rows: prompt_id, truth and kind of each response.
        scores: of each row, on 0-10; None where the judge gave none.
        n: responses to choose from.
    """
    from alma.statistics import bootstrap_mean, bootstrap_ratio, mean, pair_results, spearman

    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["prompt_id"], []).append(i)
    members = list(groups.values())
    truths = [[float(rows[i]["truth"]) for i in group] for group in members]
    given = [[scores[i] for i in group] for group in members]
    read = [[-1.0 if s is None else s for s in group] for group in given]
    pairs = [pair_results(s, t) for s, t in zip(given, truths, strict=True)]
    rights, counts = [right for right, _ in pairs], [count for _, count in pairs]
    low, high = bootstrap_ratio(rights, counts, RESAMPLES, "pairs")
    kinds: dict[str, list[int]] = {}
    for place, group in enumerate(members):
        kinds.setdefault(str(rows[group[0]].get("kind", "all")), []).append(place)
    by_kind = {}
    for kind, places in sorted(kinds.items()):
        if total := sum(counts[p] for p in places):
            by_kind[kind] = f"{kind} {sum(rights[p] for p in places) / total:.3f} ({total})"
    random = [fmean(t) for t in truths]
    judge = [choice_of(n, s, t) for s, t in zip(read, truths, strict=True)]
    best = [choice_of(n, t, t) for t in truths]
    gains = [a - b for a, b in zip(judge, random, strict=True)]
    gain_low, gain_high = bootstrap_mean(gains, RESAMPLES, "gain")
    flat = ([x for group in part for x in group] for part in (read, truths))
    within = [spearman(s, t) for s, t in zip(read, truths, strict=True)]
    spread = [math.sqrt(fmean((x - fmean(s)) ** 2 for x in s)) for s in read]
    return {
        "rows": len(rows),
        "prompts": len(members),
        "pairs": sum(counts),
        "pair_accuracy": sum(rights) / sum(counts) if sum(counts) else None,
        "pair_low": low,
        "pair_high": high,
        "n": n,
        "random": fmean(random),
        "judge": fmean(judge),
        "best": fmean(best),
        "judge_minus_random": fmean(gains),
        "gain_low": gain_low,
        "gain_high": gain_high,
        "spearman": spearman(*flat),
        "spearman_within": mean([value for value in within if value is not None]),
        "spread": fmean(spread),
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
    return measures(test, [row["score"] for row in found], n) | seconds


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
