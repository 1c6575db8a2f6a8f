"""Measure every checkpoint on IFEval: which instructions its responses follow, by lm-eval's checkers.

Reads:
    evaluation/responses/{checkpoint}/{benchmark}.parquet, where the benchmark is IFEval: prompt_id, response.
    sources of these benchmarks: key, prompt, instruction_id_list, kwargs.
Writes:
    evaluation/ifeval.csv (columns in `alma.csv_schemas`): shares of prompts with all instructions followed,
    and of instructions followed; strict, and loose (of a response without its first or last line, or its
    asterisks, any counts). Intervals are bootstraps over prompts.
Params: seed, benchmarks ({name: source}), checkpoints, resamples.
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.ifeval import Followed, documents, graded
from alma.statistics import bootstrap_mean, bootstrap_ratio, mean
from alma.tables import read_columns


def shares(followed: dict[str, Followed], seed: Any, resamples: int) -> dict[str, Any]:
    """The four shares of a checkpoint, with their intervals.

    Args:
        followed: by prompt_id.
    """
    rows = [followed[prompt] for prompt in sorted(followed)]
    found: dict[str, Any] = {"prompts": len(rows), "instructions": sum(len(row["strict"]) for row in rows)}
    for kind in ("strict", "loose"):
        whole = [float(all(row[kind])) for row in rows]
        tops, bottoms = [float(sum(row[kind])) for row in rows], [float(len(row[kind])) for row in rows]
        for level, value, ends in (
            ("prompt", mean(whole), bootstrap_mean(whole, resamples, [seed, kind])),
            (
                "instruction",
                sum(tops) / sum(bottoms),
                bootstrap_ratio(tops, bottoms, resamples, [seed, kind]),
            ),
        ):
            name = f"{level}_{kind}"
            found |= {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return found


def gap(
    mine: dict[str, Followed], others: list[dict[str, Followed]], seed: Any, resamples: int
) -> dict[str, Any]:
    """prompt_strict minus its mean over the SFT checkpoints, paired by prompt; empty for these themselves."""
    shared = sorted(set(mine).intersection(*others)) if others else []
    gaps = [
        float(all(mine[prompt]["strict"])) - sum(all(o[prompt]["strict"]) for o in others) / len(others)
        for prompt in shared
    ]
    low, high = bootstrap_mean(gaps, resamples, [seed, "vs_sft"])
    return {"vs_sft": mean(gaps), "vs_sft_low": low, "vs_sft_high": high}


def main(
    responses: dict[tuple[str, str], str | Path],
    table: str | Path,
    *,
    seed: int,
    benchmarks: dict[str, str],
    resamples: int,
) -> None:
    """Grade all responses and write the table.

    Args:
        responses: {(benchmark, checkpoint): table}, checkpoints in their order.
    """
    rows = []
    for name, source in sorted(benchmarks.items()):
        known = documents(name, source)
        asked = []
        for (benchmark, checkpoint), path in responses.items():
            if benchmark == name:
                found = read_columns(path, "evaluation_response", ["prompt_id", "response"]).to_pylist()
                asked += [
                    (checkpoint, r["prompt_id"], r["response"]) for r in found if r["prompt_id"] in known
                ]
        followed: dict[str, dict[str, Followed]] = {}
        answers, versions = graded([(prompt, known[prompt], text) for _, prompt, text in asked], seed)
        for (checkpoint, prompt, _), answer in zip(asked, answers, strict=True):
            followed.setdefault(checkpoint, {})[prompt] = answer
        print(f"{name}: graded by " + ", ".join(f"{p} {v}" for p, v in sorted(versions.items())))
        sft = {c: found for c, found in followed.items() if c.startswith("sft-")}
        for checkpoint, found in followed.items():
            row = {"benchmark": name, "checkpoint": checkpoint} | shares(found, [seed, name], resamples)
            row |= gap(found, [] if checkpoint in sft else list(sft.values()), [seed, name], resamples)
            rows.append(row)
            print(f"{name}, {checkpoint}: {row['prompt_strict']:.3f} of {row['prompts']} prompts, strict")
    write_csv_table(table, "ifeval", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        checkpoints = config.pop("checkpoints")
        pairs = [(name, checkpoint) for name in sorted(config["benchmarks"]) for checkpoint in checkpoints]
        tables = dict(zip(pairs, snakemake.input.responses, strict=True))
        main(tables, snakemake.output.table, **config)
