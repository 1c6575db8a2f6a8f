"""docs/results.md: no figure without its source, and none for a part that has not been run."""

import re
import subprocess
import sys

import pytest
import results
import yaml

from alma.csv_schemas import CSV_TABLES
from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.workflow.config import ROOT


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder yet to be made in place of docs/results/; the working directory is another empty one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


def parts():
    return results.all_parts()


def round_row(run, round_, rate, **more):
    """A row of a table by round, with intervals of 0.1 on both sides."""
    row = dict.fromkeys(CSV_TABLES["by_round"].columns) | {
        "series": run,
        "run": run,
        "runs": 1,
        "control": "",
    }
    row |= {"choice": "best", "round": round_, "benchmark": "b", "prompts": 7, "check_rate": rate}
    row |= {"check_low": rate - 0.1, "check_high": rate + 0.1}
    for name, value in more.items():
        row |= {name: value}
        if name.startswith("vs_"):
            row |= {f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    return row


def write_part(folder, part):
    """The files of a part where the workflow writes them."""
    rounds = [
        round_row("experiment", 1, 0.5),
        round_row("experiment", 2, 0.625, vs_sft=0.125, vs_random=0.25, control="experiment-random"),
        round_row("experiment-random", 1, 0.5, choice="random"),
        round_row("experiment-random", 2, 0.375, vs_sft=-0.125, choice="random"),
        round_row("", 2, 0.61, vs_sft=0.11, vs_random=0.21, series="experiment", runs=3),
    ]
    write_csv_table(folder / f"tables/by_round/{part}.csv", "by_round", rounds)
    row = dict.fromkeys(CSV_TABLES["ablation"].columns) | {"changes": "{}", "against": "", "benchmark": "b"}
    row |= {"check_rate": 0.5, "mean_words": 12.0, "cut_off": 0.0}
    runs = [
        row | {"run": "experiment", "checkpoint": "sft-0"},
        row
        | {
            "run": "experiment",
            "checkpoint": "round-2",
            "judge_score": 6.125,
            "judge_accuracy": 0.75,
            "own_accuracy": 0.5,
        },
        row | {"run": "experiment-judge-real", "checkpoint": "round-2", "vs_main_checks": -0.0625},
    ]
    write_csv_table(folder / f"tables/ablations/{part}.csv", "ablation", runs)
    (folder / "figures/by_round").mkdir(parents=True)
    (folder / f"figures/by_round/{part}.svg").write_text("<svg/>")


def test_the_page_is_what_its_tables_say():
    page = results.PAGE.read_text()
    assert results.render(page, parts()) == page, "run tools/results.py"
    assert re.findall(r"^<!-- ([a-z-]+) -->$", page, flags=re.M) == parts()


def test_the_paper_s_figures_stand_beside_runs_that_are_there():
    config = results.load()
    runs = {config["run"], *config["runs"]}
    assert {*results.PAPER, results.DEMONSTRATION} == set(parts())
    for _, figures in results.PAPER.values():
        assert set(figures) <= runs


def test_a_finished_part_is_told_in_full(tmp_path, kept):
    write_part(tmp_path / "results/experiment", "judge")
    assert results.section("judge") == results.NOT_YET, "what was not collected is not shown"
    assert results.collect(parts()) == ["judge"]
    lines = results.section("judge").splitlines()
    assert "Share of checks passed on `b` (7 prompts):" in lines
    assert (
        "| experiment | best | 0.500 [0.400, 0.600] | 0.625 [0.525, 0.725] | +0.125 [+0.025, +0.225] |"
        in lines
    )
    assert "| experiment | best | experiment-random | +0.250 [+0.150, +0.350] |" in lines
    mean = "| **experiment, mean of 3 seeds** | best |"
    assert f"{mean} - | 0.610 [0.510, 0.710] | +0.110 [+0.010, +0.210] |" in lines
    assert f"{mean} each seed's own | +0.210 [+0.110, +0.310] |" in lines
    assert "| experiment | 0.500 | - | 6.125 | 12.0 | 0.750 | 0.500 | 0.863 |" in lines
    assert "| experiment-judge-real | 0.500 | -0.062 | - | 12.0 | - | - | 0.846 |" in lines
    tables = [len(line.split(" | ")) for line in lines if line.startswith("|")]
    assert tables == [5] * 5 + [4] * 4 + [8] * 4, "as many cells as the header has"
    assert not [line for line in lines if "experiment-random | random | -" in line], "it is the control"


def test_above_random_choice_is_in_every_round():
    def row(run, value):
        return round_row(run, 2, 0.5, vs_random=value)

    rows = [row("a", 0.2), row("a", 0.3), row("b", 0.3), row("b", 0.05), row("c", 0.3), row("c", -0.05)]
    rows += [row("", 0.3), round_row("d", 2, 0.5)]
    told = "Above 0 in every round by its value: 2 of 3 runs (a, b); by its interval: 1 of 3 runs (a)."
    assert results.above_random(rows) == told
    assert results.above_random(rows[4:]).endswith("by its value: 0 of 1 runs; by its interval: 0 of 1 runs.")


def test_a_part_without_all_its_files_is_not_collected(tmp_path, kept):
    write_part(tmp_path / "results/experiment", "judge")
    (tmp_path / "results/experiment/figures/by_round/judge.svg").unlink()
    assert results.collect(parts()) == [] and not kept.exists()


def test_other_text_of_the_page_stays(tmp_path, kept):
    page = "Before\n<!-- judge -->\nold\n<!-- /judge -->\nwhat a person wrote: \\1\n"
    expected = "Before\n<!-- judge -->\n\nNot run yet.\n\n<!-- /judge -->\nwhat a person wrote: \\1\n"
    assert results.render(page, ["judge"]) == expected == results.render(expected, ["judge"])
    with pytest.raises(
        InputError, match=r"found no markers, expected <!-- prompts --> and <!-- /prompts -->"
    ):
        results.render(page, ["judge", "prompts"])


def test_the_demonstration_with_other_seeds_is_a_part_of_its_own(tmp_path, kept):
    write_part(tmp_path / "results/default", "demonstration")
    (tmp_path / "results/default/tables/ablations/demonstration.csv").unlink()
    assert results.collect(parts()) == ["demonstration"]
    told = results.section("demonstration")
    assert "| experiment | best | experiment-random | +0.250 [+0.150, +0.350] |" in told
    assert "After the last round" not in told and "![Quality by round](kept/demonstration.svg)" in told


def test_the_demonstration_s_runs_are_laid_over_make_run():
    """So that what `make run` has made is the first seed of the part."""
    first, over = (yaml.safe_load(path.read_text()) for path in results.configs_of("demonstration"))
    assert set(over) == {"runs"} and "run" not in first, "the name of the run is the schema's, default"
    for name, run in over["runs"].items():
        assert set(run) <= {"table", "control_of", "training"} and set(run["training"]) <= {
            "seed",
            "selection",
        }
        assert run.get("table", "demonstration") == "demonstration" and name.startswith("default-")


def test_an_unknown_part_is_refused_before_anything_runs():
    tool = [sys.executable, str(ROOT / "tools" / "results.py")]
    done = subprocess.run([*tool, "--files", "no-such-part"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: results.md: found no part 'no-such-part', expected one of demonstration, seeds,"
    )
    listed = subprocess.run([*tool, "--parts"], capture_output=True, text=True, check=True).stdout.split()
    assert listed == parts()
