"""The tables of a whole run, made up without a model: what figures, tables and report read."""

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import select_responses

from alma.checkpoints import MODEL_FILES
from alma.clustering import write_embeddings
from alma.csv_tables import write_csv_table
from alma.ids import content_id
from alma.tables import read_table, write_table
from alma.trace.provenance import check_inputs, write_records

TEXT = "the river runs slowly past a small blue boat while two birds watch from an old tree"
CHECKS = {
    "contains": {"words": ["river"]},
    "words": {"max": 20},
    "json": {"keys": ["a"]},
    "bullets": {"count": 3},
    "case": {"case": "lower"},
    "number": {"value": 3},
}
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
        kinds = dice.sample(sorted(CHECKS), k=i % 4)  # every fourth prompt has no checks
        asked.append(
            {
                "benchmark": benchmark,
                "prompt_id": content_id(benchmark, i),
                "prompt": f"Task {i}: {text(dice, 5, 12)}",
                "category": CATEGORIES[i % len(CATEGORIES)],
                "reference": None,
                "checks": json.dumps([{"kind": kind} | CHECKS[kind] for kind in kinds]),
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


def write_selection(root: Path, dice: random.Random, samples: int) -> None:
    """evaluation/selection/{responses,scores}.parquet, of the prompts of seeds/eval.parquet with checks."""
    rows, scores = [], []
    for asked in read_table(root / "seeds/eval.parquet", "eval"):
        for sample in range(samples if json.loads(asked["checks"]) else 0):
            row = response_row(dice, asked["prompt_id"], "selection", sample) | {"checkpoint": "sft-0"}
            rows.append(row | {key: asked[key] for key in ("prompt", "benchmark")})
            ids = {key: row[key] for key in ("response_id", "prompt_id")}
            scores.append(ids | judged(dice, 5 + dice.gauss(0, 1), 0.02))
    write_table(root / "evaluation/selection/responses.parquet", "selection_response", rows)
    write_table(root / "evaluation/selection/scores.parquet", "score", scores)


def write_judges(root: Path, dice: random.Random, prompts: int, pairs: int) -> None:
    """seeds/judge_heldout.parquet and judge/heldout/{base,judge-seed,judge}.parquet."""
    labels = {f"p{i:03}": [dice.uniform(0, 10) for _ in range(3)] for i in range(prompts)}
    texts = [
        {
            **{"prompt_id": prompt, "response_id": content_id(prompt, i), "annotator": 0, "score": label},
            **{"prompt": f"Held out: {prompt}?", "response": text(dice, 2, 30)},
        }
        for prompt, values in labels.items()
        for i, label in enumerate(values)
    ]
    write_table(root / "seeds/judge_heldout.parquet", "judge", texts)
    labels |= {f"pair:{i:03}:{i}": [10.0, 0.0] for i in range(pairs)}
    for checkpoint, noise in (("base", 8.0), ("judge-seed", 2.5), ("judge", 1.8)):
        rows = [
            {"response_id": content_id(prompt, i), "prompt_id": prompt, "label": label}
            | judged(dice, min(10, max(0, label + dice.gauss(0, noise))), 0.03)
            for prompt, values in labels.items()
            for i, label in enumerate(values)
        ]
        write_table(root / f"judge/heldout/{checkpoint}.parquet", "judge_score", rows)


def write_round(
    root: Path,
    dice: random.Random,
    round_: int,
    prompts: int,
    samples: int,
    examples: tuple[str, ...] = (),
) -> None:
    """rounds/{round}: prompts, samples, scores and selected of one shard and one block."""
    folder = root / f"rounds/{round_}"
    asked = [
        {
            "prompt_id": content_id(round_, i),
            "prompt": f"Round {round_}, <b>prompt</b> {i} & {text(dice, 4, 10)}?",
            "source": "synthetic",
            "examples": list(examples),
            "checks": "[]",
            "cluster": i,
        }
        for i in range(prompts)
    ]
    write_table(folder / "prompts/0.parquet", "round_prompt", asked)
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
    select_responses.main(
        folder / "prompts/0.parquet",
        [folder / f"samples/{checkpoint}/0-0.parquet" for checkpoint in SAMPLED[round_]],
        [folder / f"scores/{checkpoint}/0-0.parquet" for checkpoint in SAMPLED[round_]],
        folder / "selected/0.parquet",
        seed=[0, round_],
        selection="best",
        tie_tolerance=1e-6,
    )


def write_prompts(root: Path, dice: random.Random, clusters: int, each: int) -> None:
    """prompts/embeddings/{0,1}.parquet and prompts/clusters.parquet."""
    embeddings, members = [], []
    for cluster in range(clusters):
        center = [dice.gauss(0, 3) for _ in range(8)]
        for i in range(each + cluster % 3):
            prompt_id = content_id("prompt", cluster, i)
            point = [value + dice.gauss(0, 0.6) for value in center]
            embeddings.append((prompt_id, point))
            members.append({"prompt_id": prompt_id, "cluster": cluster, "rank": i, "distance": 1.0})
    for shard in (0, 1):
        ids, points = zip(*embeddings[shard::2], strict=True)
        write_embeddings(root / f"prompts/embeddings/{shard}.parquet", list(ids), np.array(points))
    write_table(root / "prompts/clusters.parquet", "cluster", members)


def write_logs(root: Path, dice: random.Random) -> None:
    """tables/training/{checkpoint}.csv, tables/prompt_filters.csv and tables/prompt_quality.csv."""
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
        write_csv_table(root / f"tables/training/{checkpoint}.csv", "training_curve", rows)
    kept, rows = 360, []
    for name, removed in (
        ("unfinished", 41),
        ("too_short", 3),
        ("exact_duplicate", 25),
        ("evaluation_overlap", 6),
    ):
        kept -= removed
        rows.append({"filter": name, "removed": removed, "kept": kept})
    write_csv_table(root / "tables/prompt_filters.csv", "prompt_filters", rows)
    shares = {"raw": 90, "raw_share": 0.25, "kept": 57, "kept_share": 0.2}
    write_csv_table(root / "tables/prompt_quality.csv", "prompt_quality", [{"kind": "any"} | shares])


def write_run(root: Path, seed: int = 0, prompts: int = 24, samples: int = 8) -> Path:
    """All tables of a run with the default config's names; returns `root`."""
    dice = random.Random(seed)
    write_evaluation(root, dice, 2 * prompts, "everyday")
    write_judges(root, dice, prompts, prompts)
    write_selection(root, random.Random(seed + 1), samples)
    for round_ in SAMPLED:
        write_round(root, dice, round_, prompts, samples)
    write_prompts(root, dice, clusters=12, each=9)
    write_logs(root, dice)
    return root


# a run with its records


class Recorder:
    """Writes artifacts in the working directory, and the records that their jobs would have written."""

    def __init__(self, run: str, shared: str):
        self.run, self.shared = run, shared

    def at(self, path: str) -> str:
        """Path of an artifact; seeds, prompts, base and sft models lie in the shared run."""
        shared = path.startswith(("seeds/", "prompts/", "rounds/1/", "models/base", "models/sft-"))
        return f"results/{self.shared if shared else self.run}/{path}"

    def model(self, name: str) -> list[str]:
        return [self.at(f"models/{name}/{file}") for file in MODEL_FILES]

    def record(self, rule: str, inputs: list[str], outputs: list[str], names: Any = None, **config: Any):
        code = content_id(rule)
        spec = {"script": f"{rule}.py", "code": code, "threads": 1, "config": config}
        write_records(rule, spec, {"run": self.run, **(names or {})}, check_inputs(inputs), outputs)

    def train(self, rule: str, name: str, inputs: list[str], seed: list[Any]) -> None:
        for path in self.model(name):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(f"{Path(path).name} of {name}\n" * 9)
        self.record(rule, inputs, self.model(name), {"index": name}, seed=seed, training={"epochs": 2})


def spoil(root: Path) -> None:
    """Give the first prompt of round 3 one candidate of every kind that cannot be chosen."""
    prompt = read_table(root / "rounds/3/prompts/0.parquet", "round_prompt")[0]
    texts = {
        0: prompt["prompt"].upper(),
        1: "Fine.",
        2: "Good.",
        3: " ...",
        4: "A",
        5: "Best",
        6: "x",
        7: "a",
    }
    for name in SAMPLED[3]:
        path, scores = (root / f"rounds/3/{kind}/{name}/0-0.parquet" for kind in ("samples", "scores"))
        rows, judged = read_table(path, "response"), read_table(scores, "score")
        for row, score in zip(rows, judged, strict=True):
            if row["prompt_id"] == prompt["prompt_id"]:
                row["response"] = texts[row["sample"]]
                row["finish_reason"] = "length" if row["sample"] == 6 else "stop"
                score["score"] = None if row["sample"] == 1 else score["score"] or 1.0
        write_table(path, "response", rows)
        write_table(scores, "score", judged)


def write_recorded_run(home: Path, run: str = "default", shared: str = "") -> Path:
    """A small run from seed file to round 3, made without a model, with all its records.

    Args:
        home: the working directory. shared: another run whose seeds, prompts and first models it uses.
    """
    with contextlib.chdir(home):
        _write_recorded_run(Recorder(run, shared or run))
    return home / "results" / run


def _write_recorded_run(made: Recorder) -> None:
    import build_dataset
    import build_sft_dataset
    import read_seeds
    import select_responses

    dice = random.Random(3)
    Path("data").mkdir(exist_ok=True)
    rows = [{"prompt": f"Seed {i}: {text(dice, 4, 8)}?", "response": text(dice, 3, 9)} for i in range(7)]
    rows.append({"prompt": rows[2]["prompt"], "response": "Another answer."})
    Path("data/sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seeds = made.at("seeds/sft.parquet")
    write_table(seeds, "sft", read_seeds.read_sft("data/sft.jsonl", [], [], max_bad=0)[0])
    made.record("read_seeds", ["data/sft.jsonl"], [seeds], seed=0, sft="data/sft.jsonl")
    made.train("base_model", "base", [seeds], [0])
    first = made.at("rounds/1/dataset.parquet")
    build_sft_dataset.main(seeds, first)
    made.record("build_sft_dataset", [seeds], [first])
    for name in ("sft-0", "sft-1"):
        made.train("train_sft", name, [*made.model("base"), first], [0, "sft", int(name[-1])])
    made.train("train_judge", "judge", made.model("base"), [0, "judge"])

    root = Path("results") / made.run
    examples = tuple(row["prompt_id"] for row in read_table(seeds, "sft")[:3])
    for round_ in SAMPLED:
        write_round(root, dice, round_, 6, 8, examples)
    spoil(root)
    dealt = [read_table(root / f"rounds/{r}/prompts/0.parquet", "round_prompt") for r in SAMPLED]
    prompts = [{k: v for k, v in row.items() if k != "cluster"} for part in dealt for row in part]
    written = [{k: v for k, v in row.items() if k != "checks"} for row in prompts]
    raw = [made.at(f"prompts/raw/{shard}.parquet") for shard in (0, 1)]
    kept = made.at("prompts/kept.parquet")
    unique = [made.at(f"prompts/unique/{shard}.parquet") for shard in (0, 1)]
    filtered = [made.at(f"prompts/filtered/{shard}.parquet") for shard in (0, 1)]
    for shard, path in enumerate(raw):
        finished = [row | {"finish_reason": "stop", "logprob": -1.0} for row in written[shard::2]]
        cut_off = [row | {"finish_reason": "length", "logprob": -1.0} for row in written[1 - shard :: 2]]
        write_table(path, "raw_prompt", [*cut_off, *finished])
        names = {"shard": str(shard)}
        made.record("synthesize_prompts", [*made.model("base"), seeds], [path], names, seed=0, shard=shard)
        fails = [(row, "unfinished") for row in cut_off] + [(row, None) for row in finished]
        left = [row | {"checks": "[]", "fails": why} for row, why in fails]
        for row in left:
            del row["finish_reason"]
        write_table(filtered[shard], "filtered_prompt", left)
        made.record("filter_prompts", [path, seeds], [filtered[shard]], names, seed=0)
    places = [{"shard": shard, "row": 0} for shard in (0, 1)]
    write_table(kept, "kept", places)
    made.record("drop_duplicates", filtered, [kept])
    for shard, path in enumerate(unique):
        write_table(path, "prompt", prompts[shard::2])
        made.record("unique_prompts", [filtered[shard], kept], [path], {"shard": str(shard)}, shard=shard)
    clusters = made.at("prompts/clusters.parquet")
    members = [
        {"prompt_id": row["prompt_id"], "cluster": row["cluster"], "rank": rank, "distance": 0.5}
        for rank, part in enumerate(dealt)
        for row in part
    ]
    write_table(clusters, "cluster", members)
    made.record("cluster_prompts", unique, [clusters], seed=0)
    places = [
        {"round": round_, "place": place} | {key: row[key] for key in ("cluster", "prompt_id")}
        for round_, part in zip(SAMPLED, dealt, strict=True)
        for place, row in enumerate(part)
    ]
    deal = made.at("prompts/deal.parquet")
    write_table(deal, "deal", places)
    made.record("deal_prompts", [clusters], [deal], seed=0)

    sets = [first]
    for round_, checkpoints in SAMPLED.items():
        names = {"round": str(round_), "shard": "0"}
        shard, selected = (made.at(f"rounds/{round_}/{kind}/0.parquet") for kind in ("prompts", "selected"))
        gathered = made.at(f"prompts/gathered/{round_}-0.parquet")
        write_table(gathered, "round_prompt", read_table(shard, "round_prompt"))
        made.record("gather_prompts", [*unique, deal], [gathered], {"round": str(round_), "block": "0"})
        made.record("round_prompts", [gathered, deal, clusters], [shard], names)
        files = {
            kind: [made.at(f"rounds/{round_}/{kind}/{c}/0-0.parquet") for c in checkpoints]
            for kind in ("samples", "scores")
        }
        for name, sampled, scores in zip(checkpoints, files["samples"], files["scores"], strict=True):
            of = names | {"checkpoint": name, "block": "0"}
            made.record("sample_responses", [*made.model(name), shard], [sampled], of, seed=0)
            made.record("score_responses", [*made.model("judge"), shard, sampled], [scores], of)
        select_responses.main(
            shard,
            files["samples"],
            files["scores"],
            selected,
            seed=[0, round_],
            selection="best",
            tie_tolerance=1e-6,
        )
        made.record(
            "select_responses",
            [shard, *files["samples"], *files["scores"]],
            [selected],
            names,
            seed=[0, round_],
        )
        pair = [made.at(f"rounds/{round_}/{name}.parquet") for name in ("dataset", "preferences")]
        build_dataset.main([selected], *pair, round_=round_)
        made.record("build_dataset", [selected], pair, {"round": str(round_)}, round_=round_)
        sets.append(pair[0])
        made.train("train_round", f"round-{round_}", [*made.model("base"), *sets], [0, "round", round_])
