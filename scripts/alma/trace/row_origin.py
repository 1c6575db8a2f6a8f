"""The way back of one row of a training set: prompt, few-shot examples, all candidates, scores, seeds.

The way follows the recorded inputs of each table. A table is recognized by its columns, never by its
name. Nothing is loaded but tables and JSON.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alma.duplicates import folded
from alma.errors import InputError
from alma.fewshot import item_seed
from alma.files import sha256_of
from alma.selection import why_out
from alma.tables import has_schema
from alma.trace.lineage import describe, natural_key, node_of, record_of
from alma.trace.provenance import check_inputs, record_path

Facts = dict[str, Any]
TRAINING_SETS = ("dataset", "preferences")


def is_table(path: Path, *kinds: str) -> bool:
    """Whether a file is a table with the schema of one of these kinds."""
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False
    return any(has_schema(found, kind) for kind in kinds)


def sources(home: Path, path: str, *kinds: str) -> list[str]:
    """Recorded inputs of an artifact that are tables of one of these kinds.

    Raises:
        InputError: one of the inputs is damaged or missing, or the artifact has no record.
    """
    record = record_of(home, path)
    if record is None:
        raise InputError(f"{path}: no record ({record_path(node_of(path, 'x'))}), so its way back is lost")
    tables = [name for name in record["inputs"] if name.endswith(".parquet")]
    check_inputs(tables, home)
    found = [name for name in tables if is_table(home / name, *kinds)]
    return sorted(found, key=natural_key)


def models_of(home: Path, path: str) -> list[str]:
    """Checkpoints among the recorded inputs of an artifact."""
    record = record_of(home, path)
    nodes = {node_of(name) for name in record["inputs"]} if record else set()
    return sorted((node for node in nodes if Path(node).parent.name == "models"), key=natural_key)


def rows_of(home: Path, paths: Iterable[str], prompt_id: str) -> Iterator[tuple[str, int, Facts]]:
    """(file, number of the row from 0, row) of every row of these tables with a prompt id."""
    for path in paths:
        ids = pq.read_table(home / path, columns=["prompt_id"])["prompt_id"]
        numbers = pc.indices_nonzero(pc.equal(ids, prompt_id)).to_pylist()
        if numbers:
            rows = pq.read_table(home / path, filters=[("prompt_id", "==", prompt_id)]).to_pylist()
            yield from ((path, number, row) for number, row in zip(numbers, rows, strict=True))


def training_row(home: Path, path: str, row: int | None, prompt_id: str | None) -> tuple[int, Facts]:
    """Number (from 0) and values of a row of a training set, by its number or its prompt id.

    Raises:
        InputError: the table is damaged or no training set, or has no such row.
    """
    check_inputs([path], home)
    if not is_table(home / path, *TRAINING_SETS):
        raise InputError(f"{path}: not a training set; --row and --id need a dataset or preferences table")
    if prompt_id is not None:
        found = [(number, values) for _, number, values in rows_of(home, [path], prompt_id)]
        if not found:
            raise InputError(f"{path}: no row has the prompt id {prompt_id}")
        if len(found) > 1:
            numbers = ", ".join(str(number) for number, _ in found)
            raise InputError(
                f"{path}: the rows {numbers} have the prompt id {prompt_id}; pick one with --row"
            )
        return found[0]
    table = pq.read_table(home / path)
    if row is None or not 0 <= row < table.num_rows:
        last = f"0 to {table.num_rows - 1}" if table.num_rows else "none, the table is empty"
        raise InputError(f"{path}: no row {row}; rows: {last}")
    return row, table.slice(row, 1).to_pylist()[0]


def _seed_place(home: Path, table: str, row: Facts) -> Facts:
    """Which row of which seed file a row of seeds/sft.parquet was read from."""
    from read_seeds import SFT_COLUMNS

    from alma.seed_formats import read_rows
    from alma.seed_rows import sft_pair

    record = record_of(home, table)
    source = record["spec"]["config"].get("sft") if record else None
    if not source:
        return {"source": None, "place": None, "note": f"{table} has no record that names its source"}
    if source.startswith("hub:"):
        return {"source": source, "place": None, "note": "a data set of the hub; find the row by its text"}
    if not (home / source).is_file():
        return {"source": source, "place": None, "note": f"{source} is no longer there"}
    used = record["inputs"].get(source) if record else None
    edited = used is not None and sha256_of(home / source) != used
    note = f"{source} was edited since it was read" if edited else None
    wanted = row["prompt"], row["completion"]
    with contextlib.redirect_stdout(io.StringIO()):  # the reader prints what it leaves out
        rows = read_rows(str(home / source), SFT_COLUMNS, [])
    for found in rows:
        if sft_pair(found, []) == wanted:
            place = source + found.where.removeprefix(str(home / source))
            return {"source": source, "place": place, "note": note}
    return {"source": source, "place": None, "note": note or f"no row of {source} has this text"}


def _seed_row(home: Path, path: str, row: Facts) -> Facts:
    """The way back of a row of round 1: its seed row."""
    tables = sources(home, path, "sft")
    for table, number, seed in rows_of(home, tables, row["prompt_id"]):
        if (seed["prompt"], seed["completion"]) == (row["prompt"], row["completion"]):
            return {"table": table, "row": number, **_seed_place(home, table, seed)}
    raise InputError(f"{path}: the row is in none of the tables that it was made from ({', '.join(tables)})")


def _prompt_facts(home: Path, shard: str, prompt: Facts, way: list[str]) -> Facts:
    """Where a round's prompt comes from: cluster, raw shard, seed and few-shot examples."""
    facts: Facts = {
        "text": prompt["prompt"],
        "source": prompt["source"],
        "table": shard,
        "examples": [{"prompt_id": key, "text": None} for key in prompt["examples"]],
        "cluster": {"cluster": prompt["cluster"]},
        "raw": None,
    }
    tables = [shard, *sources(home, shard, "round_prompt")]  # where they were gathered for the round
    deals = sources(home, shard, "deal")
    unique = [prompts for table in tables for prompts in sources(home, table, "prompt")]
    clusters = [table for deal in deals for table in sources(home, deal, "cluster")]
    way += [*tables[1:], *deals, *clusters]
    for table, _, member in rows_of(home, clusters, prompt["prompt_id"]):
        facts["cluster"] = {"table": table} | {key: member[key] for key in ("cluster", "rank", "distance")}
    holding = [table for table, _, _ in rows_of(home, unique, prompt["prompt_id"])]
    filtered = [table for path in holding for table in sources(home, path, "filtered_prompt")]
    way += [*holding, *(kept for path in holding for kept in sources(home, path, "kept")), *filtered]
    raw_tables = [table for path in filtered for table in sources(home, path, "raw_prompt")]
    for table, number, raw in rows_of(home, raw_tables, prompt["prompt_id"]):
        if raw["examples"] != prompt["examples"] or raw["finish_reason"] != "stop":
            continue
        record = record_of(home, table) or {"spec": {"config": {}}}
        config = record["spec"]["config"]
        seed = None
        if {"seed", "shard"} <= set(config):
            seed = item_seed(config["seed"], config["shard"], number)
        facts["raw"] = {"table": table, "row": number, "seed": seed, "models": models_of(home, table)}
        seeds = sources(home, table, "sft")
        way += [table, *facts["raw"]["models"], *seeds]
        for example in facts["examples"]:
            for _, _, row in rows_of(home, seeds, example["prompt_id"]):
                turns = (turn["content"] for turn in row["prompt"] if turn["role"] == "user")
                example["text"] = next(turns, "").strip()
        break
    return facts


def _candidates(home: Path, selected: str, prompt: Facts, choice: Facts) -> list[Facts]:
    """Every response to a prompt with its score and what became of it: the chosen one, then by score."""
    prompt_id = prompt["prompt_id"]
    scored = {
        row["response_id"]: (table, row)
        for table, _, row in rows_of(home, sources(home, selected, "score"), prompt_id)
    }
    found = []
    for table, _, row in rows_of(home, sources(home, selected, "response"), prompt_id):
        score_table, score = scored.get(row["response_id"], (None, {}))
        facts = row | {key: score.get(key) for key in ("score", "mass", "p")}
        facts |= {"table": table, "score_table": score_table, "models": models_of(home, table)}
        facts["judges"] = models_of(home, score_table) if score_table else []
        found.append(facts | {"verdict": "", "why_out": why_out(prompt["prompt"], facts)})
    first: dict[str, int] = {}
    for facts in sorted(found, key=lambda row: (row["sample"], row["response_id"])):
        if facts["why_out"] is None:
            # Of equal texts the first sample stands for all (alma.selection.distinct_candidates).
            same = first.setdefault(folded(facts["response"]), facts["sample"])
            facts["why_out"] = f"repeat of sample {same}" if same != facts["sample"] else None
        for verdict in ("chosen", "rejected"):
            if facts["response_id"] == choice[f"{verdict}_id"]:
                facts["verdict"] = verdict
    order = {"chosen": 0, "rejected": 1, "": 2}
    return sorted(
        found,
        key=lambda r: (order[r["verdict"]], r["why_out"] is not None, -(r["score"] or -1.0), r["sample"]),
    )


def _record_facts(home: Path, way: Iterable[str]) -> list[Facts]:
    """The records of all artifacts on a way, each once, in the order of the way."""
    keys = ("path", "kind", "rule", "wildcards", "seed", "code", "content", "commit", "time", "notes")
    described = [describe(home, path) for path in dict.fromkeys(map(node_of, way))]
    # Of a file that no rule made, the bytes that were used are known to its users alone.
    used = {name: sha for facts in described for name, sha in facts.get("inputs", {}).items()}
    for facts in described:
        facts.setdefault("content", used.get(facts["path"]))
    return [{key: facts.get(key) for key in keys} for facts in described]


def trace_row(home: Path, path: str, row: int | None = None, prompt_id: str | None = None) -> Facts:
    """The way back of one row of a training set.

    Args:
        home: the folder that holds results/. path: a dataset or preferences table, from there.
        row: number of the row, from 0. prompt_id: or its prompt's id.

    Returns:
        table, row, prompt_id, messages (by column); of a seed row `seed`; else `selected` (table
        and scores), `prompt` (text, source, examples with texts, raw shard and seed, cluster) and
        `candidates` (all responses, the chosen first); and `records` of every artifact in the way.

    Raises:
        InputError: no such row, or a table in its way is damaged, missing or without a record.
    """
    number, values = training_row(home, path, row, prompt_id)
    prompt_id = values.pop("prompt_id")
    facts: Facts = {"table": path, "row": number, "prompt_id": prompt_id, "messages": values}
    way = [path]
    selected_tables = sources(home, path, "selected")
    if not selected_tables:
        facts["seed"] = _seed_row(home, path, values | {"prompt_id": prompt_id})
        way.append(facts["seed"]["table"])
        record = record_of(home, way[-1])
        way += [name for name in (record["inputs"] if record else {}) if name == facts["seed"]["source"]]
        return facts | {"records": _record_facts(home, way)}
    for selected, _, choice in rows_of(home, selected_tables, prompt_id):
        way.append(selected)
        shards = sources(home, selected, "round_prompt")
        for shard, _, prompt in rows_of(home, shards, prompt_id):
            facts["selected"] = {"table": selected} | {
                key: choice[key]
                for key in ("chosen_id", "chosen_score", "rejected_id", "rejected_score", "candidates")
            }
            facts["candidates"] = _candidates(home, selected, prompt, choice)
            for candidate in facts["candidates"]:
                way += [candidate["table"], *candidate["models"]]
                way += [candidate["score_table"] or candidate["table"], *candidate["judges"]]
            way.append(shard)
            facts["prompt"] = _prompt_facts(home, shard, prompt, way)
            return facts | {"records": _record_facts(home, way)}
    raise InputError(f"{path}: the prompt {prompt_id} is in none of the tables that the row was made from")
