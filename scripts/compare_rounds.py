"""Put the share of checks passed after each round of several runs into one table, beside random choice.

Reads, of each run in the order of `runs`:
    evaluation/{checkpoint}/{benchmark}.parquet of the SFT checkpoints and the models of the rounds.
Writes:
    tables/by_round/{table}.csv (columns in `alma.csv_schemas`): the rows of each run, then those of each
    series of several runs, their mean. Differences are paired by prompt. Intervals (95%) of a run are
    bootstraps over prompts; of a mean over runs, over runs and prompts. A difference is empty where the two
    did not answer the same prompts with the same checks, or where there is no such round.
Params:
    seed, resamples (of the bootstrap); runs: of each run in order: run (name), series (name of the first
    run that differs from it in seeds alone), choice (training.selection), control (the run of random
    choice that it is compared with, or empty), results (how many evaluation tables it has).
"""

from pathlib import Path
from typing import Any

from alma.csv_tables import write_csv_table
from alma.measures import check_share
from alma.statistics import bootstrap_mean, bootstrap_replicates, mean

Row = dict[str, Any]
Place = tuple[int, str]  # round and benchmark
Shares = dict[str, tuple[int, float]]  # by prompt_id: its number of checks, and the share passed
SFT = 1  # the round of the SFT checkpoints, which are averaged prompt by prompt


def shares_of(results: list[str]) -> dict[Place, Shares]:
    """Checks passed by prompt, of each (round, benchmark) of a run, in the order of the rounds."""
    from alma.tables import read_tables

    found: dict[Place, dict[str, list[tuple[int, float]]]] = {}
    for row in read_tables(results, "evaluation"):
        kind, _, number = row["checkpoint"].partition("-")
        share = check_share(row)
        if kind in ("sft", "round") and share is not None:
            place = found.setdefault((SFT if kind == "sft" else int(number), row["benchmark"]), {})
            place.setdefault(row["prompt_id"], []).append((len(row["passed"]), share))
    return {
        key: {
            prompt: (told[0][0], sum(share for _, share in told) / len(told))
            for prompt, told in sorted(found[key].items())
        }
        for key in sorted(found)
    }


def values(shares: Shares) -> list[float]:
    """The shares, in the order of the prompts."""
    return [share for _, share in shares.values()]


def gaps(mine: Shares, theirs: Shares | None) -> list[float] | None:
    """Share of each prompt minus that of another model; None where the two were asked other things."""
    if theirs is None or {p: n for p, (n, _) in mine.items()} != {p: n for p, (n, _) in theirs.items()}:
        return None
    return [share - theirs[prompt][1] for prompt, (_, share) in mine.items()]


def measure(name: str, ends: str, runs: list[list[float] | None], seed: Any, resamples: int) -> Row:
    """Mean of a measure with its interval: of one run, or of several; all empty where one has no values.

    Args:
        runs: the values of each run, by prompt in the same order.
    """
    names = (name, f"{ends}_low", f"{ends}_high")
    known = [run for run in runs if run]
    if len(known) < len(runs):
        return dict.fromkeys(names)
    one = len(known) == 1
    interval = (
        bootstrap_mean(known[0], resamples, seed) if one else bootstrap_replicates(known, resamples, seed)
    )
    return dict(zip(names, (mean([value for run in known for value in run]), *interval), strict=True))


def rows_of(
    members: list[Row], shares: dict[str, dict[Place, Shares]], seed: int, resamples: int
) -> list[Row]:
    """Rows of one run, or of the mean over several; a round that one of them lacks has none.

    Args:
        members: entries of `runs` with one series. shares: of all runs, by name.
    """
    names = [member["run"] for member in members]
    found = []
    for round_, benchmark in shares[names[0]]:

        def of(name: str, number: int) -> Shares | None:
            return shares[name].get((number, benchmark)) if name else None  # noqa: B023

        mine = [one for name in names if (one := of(name, round_)) is not None]
        if len(mine) < len(names) or any(set(one) != set(mine[0]) for one in mine):
            continue
        later = round_ > SFT
        controls = [member["control"] if later else "" for member in members]
        compared = {
            "vs_sft": [
                gaps(one, of(name, SFT) if later else None) for one, name in zip(mine, names, strict=True)
            ],
            "vs_random": [gaps(one, of(name, round_)) for one, name in zip(mine, controls, strict=True)],
        }
        # The resampled prompts are the same for all rounds and runs.
        bootstrap = ([seed, "by_round", benchmark], resamples)
        row = {
            "series": members[0]["series"],
            "run": names[0] if len(names) == 1 else "",
            "runs": len(names),
            "choice": members[0]["choice"],
            "round": round_,
            "benchmark": benchmark,
            "prompts": len(mine[0]),
            "control": controls[0] if len(names) == 1 and compared["vs_random"][0] else "",
        }
        row |= measure("check_rate", "check", [values(one) for one in mine], *bootstrap)
        for name, told in compared.items():
            row |= measure(name, name, told, *bootstrap)
        found.append(row)
    return found


def main(results: list[str], table: str | Path, *, seed: int, resamples: int, runs: list[Row]) -> None:
    """Write the table; see the module's docstring."""
    left = list(results)
    shares: dict[str, dict[Place, Shares]] = {}
    series: dict[str, list[Row]] = {}
    for run in runs:
        own, left = left[: run["results"]], left[run["results"] :]
        shares[run["run"]] = shares_of(own)
        series.setdefault(run["series"], []).append(run)
    groups = [[run] for run in runs] + [members for members in series.values() if len(members) > 1]
    rows = [row for members in groups for row in rows_of(members, shares, seed, resamples)]
    write_csv_table(table, "by_round", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(list(snakemake.input.results), snakemake.output.table, **config)
