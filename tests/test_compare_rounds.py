"""The table of quality by round, against differences reckoned by hand, and its figure."""

import compare_rounds
import numpy as np
import plot_rounds
import pytest
from test_measures import response

from alma.csv_tables import read_csv_table
from alma.statistics import bootstrap_mean, bootstrap_replicates
from alma.tables import write_table

ALL, HALF, NONE = [True, True], [True, False], [False, False]


def compare(root, told, prompts="ab", **runs):
    """Rows of the table of these runs: {run: {checkpoint: what it passed by prompt}}."""
    results, facts = [], []
    for name, models in runs.items():
        for checkpoint, passed in models.items():
            asked = prompts[name] if isinstance(prompts, dict) else prompts
            rows = [
                response(p, checks, checkpoint=checkpoint) for p, checks in zip(asked, passed, strict=True)
            ]
            results.append(str(root / f"{name}-{checkpoint}.parquet"))
            write_table(results[-1], "evaluation", rows)
        fact = {"run": name, "series": name, "choice": "best", "control": "", "results": len(models)}
        facts.append(fact | told.get(name, {}))
    compare_rounds.main(results, root / "table.csv", seed=0, resamples=300, runs=facts)
    return read_csv_table(root / "table.csv", "by_round")


def figures(rows, *columns):
    return {(row["run"], row["round"]): tuple(row[c] for c in columns) for row in rows}


TOLD = {
    "main": {"series": "main", "control": "chance"},
    "chance": {"series": "chance", "choice": "random"},
    "main-1": {"series": "main", "control": "chance-1"},
    "chance-1": {"series": "chance", "choice": "random"},
}


def test_differences_by_hand(tmp_path):
    sft = {"sft-0": [NONE, NONE], "sft-1": [HALF, NONE]}
    rows = compare(
        tmp_path,
        TOLD,
        main=sft | {"round-2": [ALL, HALF], "round-3": [ALL, ALL]},
        chance=sft | {"round-2": [HALF, NONE]},
    )
    columns = ("check_rate", "vs_sft", "vs_random", "control")
    assert figures(rows, *columns) == {
        ("main", 1): (0.125, None, None, ""),  # a quarter of prompt a, nothing of b
        ("main", 2): (0.75, 0.625, 0.5, "chance"),
        ("main", 3): (1.0, 0.875, None, ""),  # the control has no third round
        ("chance", 1): (0.125, None, None, ""),
        ("chance", 2): (0.25, 0.125, None, ""),
    }
    second = rows[1]
    # Both prompts gain half of their checks: no resample can give anything else.
    assert (second["vs_random_low"], second["vs_random_high"]) == (0.5, 0.5)
    assert (second["vs_sft_low"], second["vs_sft_high"]) == (0.5, 0.75)
    assert [row["runs"] for row in rows] == [1] * 5 and second["prompts"] == 2


def test_a_mean_over_seeds_takes_each_seed_with_its_own_control(tmp_path):
    rows = compare(
        tmp_path,
        TOLD,
        main={"sft-0": [NONE, NONE], "round-2": [ALL, ALL]},
        chance={"sft-0": [NONE, NONE], "round-2": [HALF, HALF]},
        **{
            "main-1": {"sft-0": [HALF, HALF], "round-2": [HALF, HALF], "round-3": [ALL, ALL]},
            "chance-1": {"sft-0": [HALF, HALF], "round-2": [HALF, HALF]},
        },
    )
    means = {(row["series"], row["round"]): row for row in rows if row["runs"] == 2}
    assert set(means) == {(s, r) for s in ("main", "chance") for r in (1, 2)}, "one seed has a third round"
    row = means["main", 2]
    assert (row["run"], row["check_rate"], row["vs_sft"], row["vs_random"]) == ("", 0.75, 0.5, 0.25)
    # One seed gains half and one nothing: an interval over prompts alone would be a point.
    assert (row["vs_random_low"], row["vs_random_high"]) == (0.0, 0.5)
    assert means["chance", 2]["vs_random"] is None


def test_pairing_is_by_prompt_and_other_prompts_have_no_difference(tmp_path):
    prompts = {"main": "abc", "chance": "cab"}
    same = {"sft-0": [ALL, HALF, NONE]}
    rows = compare(
        tmp_path,
        TOLD,
        prompts,
        main=same | {"round-2": [ALL, HALF, NONE]},
        chance=same | {"round-2": [NONE, ALL, HALF]},
    )
    second = rows[1]
    assert [second[f"vs_random{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
    for asked, passed in (("abd", HALF), ("abc", [True])):
        other = {"main": "abc", "chance": asked}
        run = {"sft-0": [HALF] * 3, "round-2": [HALF] * 3}
        rows = compare(tmp_path, TOLD, other, main=run, chance=run | {"round-2": [passed] * 3})
        assert rows[1]["vs_random"] is None and rows[1]["control"] == ""


def test_prompts_without_checks_are_left_out(tmp_path):
    rows = compare(tmp_path, {}, main={"sft-0": [ALL, []], "round-2": [HALF, []]})
    assert [(row["prompts"], row["check_rate"]) for row in rows] == [(1, 1.0), (1, 0.5)]
    assert compare(tmp_path, {}, main={"sft-0": [[], []]}) == []
    plot_rounds.main(tmp_path / "table.csv", tmp_path / "empty.svg")
    assert "no evaluation prompt has checks" in (tmp_path / "empty.svg").read_text()


def test_the_figure_names_every_line(tmp_path):
    run = {"sft-0": [NONE, HALF], "round-2": [HALF, ALL]}
    names = {"main": run, "chance": run, "main-1": run, "chance-1": run, "dpo": run}
    compare(tmp_path, TOLD, **names)
    plot_rounds.main(tmp_path / "table.csv", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("main, mean of 2 seeds", "chance, mean of 2 seeds", ">dpo<", ">SFT<", "(2 prompts)"):
        assert words in text


# the interval over runs and prompts


def test_an_interval_over_replicates_is_that_of_the_prompts_where_all_replicates_agree():
    prompts = np.random.default_rng(0).random(60)
    low, high = bootstrap_replicates([prompts, prompts, prompts], 4000, 0)
    assert (low, high) == pytest.approx(bootstrap_mean(list(prompts), 4000, 1), abs=0.01)
    assert bootstrap_replicates([prompts, prompts], 500, 3) == bootstrap_replicates(
        [prompts, prompts], 500, 3
    )


def test_an_interval_over_replicates_covers_their_spread():
    """Variance over n replicates, of which a bootstrap sees (n - 1) / n; the prompts do not differ."""
    values = [[level] * 20 for level in (0.1, 0.4, 0.3, 0.8, 0.9)]
    low, high = bootstrap_replicates(values, 4000, 0)
    spread = np.std([row[0] for row in values]) / len(values) ** 0.5
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.1)
    assert low < 0.5 < high


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]], [[0.1], [0.2]]], ids=["none", "one run", "one prompt"])
def test_too_little_to_resample_has_no_interval(values):
    assert bootstrap_replicates(values, 100, 0) == (None, None)
