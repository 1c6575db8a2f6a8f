"""The tables of a whole run, made up without a model: what figures, tables and report read."""

import csv
import json
import random
from pathlib import Path
from typing import Any

from alma.ids import content_id
from alma.tables import write_table

TEXT = "the river runs slowly past a small blue boat while two birds watch from an old tree"
KINDS = ("contains", "words", "json", "bullets", "case", "number")
CATEGORIES = ("explain", "rewrite", "plan", "code")
CHECKPOINTS = ("base", "sft-0", "sft-1", "round-2", "round-3")
TRAINED = ("sft-0", "sft-1", "round-2", "round-3", "judge-seed", "judge")
SAMPLED = {2: ("sft-0", "sft-1"), 3: ("sft-0", "sft-1", "round-2")}


def text(dice: random.Random, low: int, high: int) -> str:
    """Some words."""
    return " ".join(dice.choices(TEXT.split(), k=dice.randint(low, high)))


def distribution(dice: random.Random, middle: float) -> list[float]:
    """Eleven probabilities around a rating."""
    weights = [2.0 ** -abs(k - middle) + 0.05 * dice.random() for k in range(11)]
    return [w / sum(weights) for w in weights]


def judged(dice: random.Random, middle: float, unreadable: float = 0.0) -> dict[str, Any]:
    """score, mass and p of one row."""
    p = distribution(dice, middle)
    score = sum(k * value for k, value in enumerate(p))
    lost = dice.random() < unreadable
    return {"score": None if lost else score, "mass": 0.3 if lost else 0.99, "p": p}


def response_row(dice: random.Random, prompt_id: str, checkpoint: str, sample: int) -> dict[str, Any]:
    """One response; a few are cut off or empty."""
    body = text(dice, 4, 40) if dice.random() > 0.03 else ""
    return {
        "prompt_id": prompt_id,
        "response_id": content_id(prompt_id, checkpoint, sample),
        "checkpoint": checkpoint,
        "sample": sample,
        "seed": dice.getrandbits(31),
        "response": body,
        "finish_reason": "length" if dice.random() < 0.1 else "stop",
        "tokens": len(body.split()) + 1,
    }


def write_evaluation(root: Path, dice: random.Random, prompts: int, benchmark: str) -> None:
    """seeds/eval.parquet and evaluation/{checkpoint}/{benchmark}.parquet."""
    asked = []
    for i in range(prompts):
        kinds = dice.sample(KINDS, k=i % 4)  # every fourth prompt has no checks
        asked.append(
            {
                "benchmark": benchmark,
                "prompt_id": content_id(benchmark, i),
                "prompt": f"Task {i}: {text(dice, 5, 12)}",
                "category": CATEGORIES[i % len(CATEGORIES)],
                "reference": None,
                "checks": json.dumps([{"kind": kind} for kind in kinds]),
            }
        )
    write_table(root / "seeds/eval.parquet", "eval", asked)
    for place, checkpoint in enumerate(CHECKPOINTS):
        rows = []
        for row in asked:
            passed = [dice.random() < 0.35 + 0.12 * place for _ in json.loads(row["checks"])]
            rows.append(
                response_row(dice, row["prompt_id"], checkpoint, 0)
                | {"benchmark": benchmark, "passed": passed}
                | judged(dice, 4 + 0.9 * place + dice.gauss(0, 1), 0.02)
            )
        write_table(root / f"evaluation/{checkpoint}/{benchmark}.parquet", "evaluation", rows)


def write_judges(root: Path, dice: random.Random, prompts: int, pairs: int) -> None:
    """judge/heldout/{base,judge-seed,judge}.parquet."""
    labels = {f"p{i:03}": [dice.uniform(0, 10) for _ in range(3)] for i in range(prompts)}
    labels |= {f"pair:{i:03}:{i}": [10.0, 0.0] for i in range(pairs)}
    for checkpoint, noise in (("base", 8.0), ("judge-seed", 2.5), ("judge", 1.8)):
        rows = [
            {"response_id": content_id(prompt, i), "prompt_id": prompt, "label": label}
            | judged(dice, min(10, max(0, label + dice.gauss(0, noise))), 0.03)
            for prompt, values in labels.items()
            for i, label in enumerate(values)
        ]
        write_table(root / f"judge/heldout/{checkpoint}.parquet", "judge_score", rows)


def write_round(root: Path, dice: random.Random, round_: int, prompts: int, samples: int) -> None:
    """rounds/{round}: prompts, samples, scores and selected of one shard and one block."""
    from alma.selection import select

    folder = root / f"rounds/{round_}"
    asked = [
        {
            "prompt_id": content_id(round_, i),
            "prompt": f"Round {round_}, <b>prompt</b> {i} & {text(dice, 4, 10)}?",
            "source": "synthetic",
            "examples": [],
            "cluster": i,
        }
        for i in range(prompts)
    ]
    write_table(folder / "prompts/0.parquet", "round_prompt", asked)
    everything = []
    for place, checkpoint in enumerate(SAMPLED[round_]):
        rows, scores = [], []
        for row in asked:
            for sample in range(place, samples, len(SAMPLED[round_])):
                rows.append(response_row(dice, row["prompt_id"], checkpoint, sample))
                keys = {key: rows[-1][key] for key in ("response_id", "prompt_id")}
                longer = min(3.0, rows[-1]["tokens"] / 15)
                scores.append(keys | judged(dice, 3 + 0.7 * place + longer + dice.gauss(0, 1.2), 0.02))
        write_table(folder / f"samples/{checkpoint}/0-0.parquet", "response", rows)
        write_table(folder / f"scores/{checkpoint}/0-0.parquet", "score", scores)
        everything += [row | {"score": s["score"]} for row, s in zip(rows, scores, strict=True)]
    chosen = [
        select(
            row,
            [r for r in everything if r["prompt_id"] == row["prompt_id"]],
            seed=[0, round_],
            selection="best",
            tie_tolerance=1e-6,
        )
        for row in asked
    ]
    write_table(folder / "selected/0.parquet", "selected", [row for row in chosen if row])


def write_prompts(root: Path, dice: random.Random, clusters: int, each: int) -> None:
    """prompts/embeddings/{0,1}.parquet and prompts/clusters.parquet."""
    embeddings, members = [], []
    for cluster in range(clusters):
        centre = [dice.gauss(0, 3) for _ in range(8)]
        for i in range(each + cluster % 3):
            prompt_id = content_id("prompt", cluster, i)
            point = [value + dice.gauss(0, 0.6) for value in centre]
            embeddings.append({"prompt_id": prompt_id, "embedding": point})
            members.append({"prompt_id": prompt_id, "cluster": cluster, "rank": i, "distance": 1.0})
    write_table(root / "prompts/embeddings/0.parquet", "embedding", embeddings[::2])
    write_table(root / "prompts/embeddings/1.parquet", "embedding", embeddings[1::2])
    write_table(root / "prompts/clusters.parquet", "cluster", members)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_logs(root: Path, dice: random.Random) -> None:
    """tables/training/{checkpoint}.csv and tables/prompt_filters.csv."""
    for checkpoint in TRAINED:
        rows = [
            {
                "step": step,
                "epoch": step / 20,
                "loss": 0.8 + 1.6 / step**0.5 + dice.gauss(0, 0.08),
                "learning_rate": 5e-5 * (1 - step / 41),
                "tokens": 900 * step,
            }
            for step in range(1, 41)
        ]
        write_csv(root / f"tables/training/{checkpoint}.csv", rows)
    kept, rows = 360, []
    for name, removed in (
        ("unfinished", 41),
        ("too_short", 3),
        ("exact_duplicate", 25),
        ("evaluation_overlap", 6),
    ):
        kept -= removed
        rows.append({"filter": name, "removed": removed, "kept": kept})
    write_csv(root / "tables/prompt_filters.csv", rows)


def write_run(root: Path, seed: int = 0, prompts: int = 24, samples: int = 8) -> Path:
    """All tables of a run with the default config's names; returns `root`."""
    dice = random.Random(seed)
    write_evaluation(root, dice, 2 * prompts, "everyday")
    write_judges(root, dice, prompts, prompts)
    for round_ in SAMPLED:
        write_round(root, dice, round_, prompts, samples)
    write_prompts(root, dice, clusters=12, each=9)
    write_logs(root, dice)
    return root
