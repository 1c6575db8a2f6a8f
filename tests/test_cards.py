"""Model cards and data cards, from tables made by hand."""

import json

import data_card
import model_card
import pytest
import yaml
from test_verdict import KEPT, all_rows, blank_cell, judged, summary

from alma import cards, hub_repository
from alma.csv_tables import CSV_TABLES, write_csv_table
from alma.model_packages import PACKAGES
from alma.tables import assistant, user, write_table
from alma.workflow.config import ROOT
from alma.workflow.plan import plan, spec_of

SHA = "0123456789abcdef" * 4
COMMIT = "a" * 40
RECIPE = {"rounds": 3, "training.sft.last_layers": None, "training.sft.learning_rate": 1e-5}
SOURCES = {
    "base_model": f"hub:someone/base@{COMMIT}",
    "base_license": "Apache-2.0",
    "labels": {
        "labels.sft": f"dolly:hub:someone/pairs@{COMMIT}",
        "labels.judge": "/home/jane/secret/scores.csv",
    },
    "labels_license": "CC-BY-4.0",
}


def write_csv(path, name, rows):
    blank = {column: blank_cell(kind) for column, (kind, _) in CSV_TABLES[name].columns.items()}
    write_csv_table(path, name, [blank | row for row in rows])
    return path


@pytest.fixture
def run(tmp_path):
    """The tables of a run of three rounds: one labeled pair, three and two rated responses."""
    tmp_path = tmp_path / "results" / "mine"
    sft = {"prompt_id": "a", "prompt": user("Hi"), "completion": assistant("Hello."), "category": None}
    rated = {"prompt_id": "a", "annotator": 0, "prompt": "Hi", "response": "Hello.", "score": 7.0}
    row = {"prompt_id": "b", "prompt": user("New?"), "completion": assistant("Yes.")}
    pair = {"prompt_id": "b", "prompt": user("New?"), "chosen": row["completion"], "rejected": user("No")}
    write_table(tmp_path / "seeds/sft.parquet", "sft", [sft])
    for name, count in (("judge", 3), ("judge_heldout", 2)):
        rows = [rated | {"response_id": f"{name}{i}"} for i in range(count)]
        write_table(tmp_path / f"seeds/{name}.parquet", "judge", rows)
    for round_, rows in ((1, [row]), (2, [row] * 4), (3, [row] * 6)):
        write_table(tmp_path / f"rounds/{round_}/dataset.parquet", "dataset", rows)
        write_table(tmp_path / f"rounds/{round_}/preferences.parquet", "preferences", [pair] * (round_ - 1))
    write_csv(tmp_path / "evaluation/summary.csv", "summary", summary())
    measured = {"check_rate": 0.25, "check_low": 0.2, "check_high": 0.3125, "prompts": 432}
    write_csv(
        tmp_path / "evaluation/summary.csv",
        "summary",
        [row | measured | {"judge": "own"} for row in summary()],
    )
    write_csv(tmp_path / "evaluation/verdict.csv", "verdict", list(all_rows().values()))
    write_csv(
        tmp_path / "evaluation/judge.csv", "judge", [judged(), judged(checkpoint="judge-seed", pairs=61)]
    )
    write_csv(tmp_path / "tables/prompt_filters.csv", "prompt_filters", KEPT)
    for name in ("round-3", "judge"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / f"models/{name}/SHA256SUMS").write_text(
            f"{'f' * 64}  config.json\n{SHA}  model.safetensors\n"
        )
    return tmp_path


def written(run, checkpoint="round-3", objective="best_of_n", **changes):
    """Metadata and text of the card of a checkpoint."""
    table = "dataset" if objective == "best_of_n" else "preferences"
    rounds = range(1 if objective == "best_of_n" else 2, 4)
    judge = checkpoint.startswith("judge")
    model_card.main(
        *(run / f"evaluation/{name}.csv" for name in ("summary", "verdict", "judge")),
        run / "seeds/sft.parquet",
        [run / f"seeds/{name}.parquet" for name in ("judge", "judge_heldout")],
        [] if judge else [run / f"rounds/{r}/{table}.parquet" for r in rounds],
        run / f"models/{checkpoint}/SHA256SUMS",
        ROOT / "templates/cards" / ("judge.md.jinja" if judge else "model.md.jinja"),
        run / f"cards/{checkpoint}.md",
        run="mine",
        checkpoint=checkpoint,
        objective=objective,
        judge="judge",
        recipe=RECIPE,
        **(SOURCES | changes),
    )
    return parts(run / f"cards/{checkpoint}.md")


def parts(path):
    _, metadata, text = path.read_text().split("---\n", 2)
    assert "{{" not in text and "{%" not in text and "None" not in text
    return yaml.safe_load(metadata), text


def test_a_model_card_names_its_sources_figures_limits_and_licenses(run):
    metadata, text = written(run)
    assert metadata["base_model"] == "someone/base" and metadata["license"] == "apache-2.0"
    assert metadata["datasets"] == ["someone/pairs"]
    assert metadata["library_name"] == "transformers" and metadata["pipeline_tag"] == "text-generation"
    assert "from 1 labeled\npairs and 5 rated responses" in text
    assert "| round 1 | 1 |\n| round 2 | 4 |\n| round 3 | 6 |" in text
    assert "| main | **round-3** | 432 | 0.25 [0.20, 0.31] |" in text
    assert "| main | sft-0 | 432 |" in text
    first, *links = all_rows().values()
    assert first["says"] in text
    assert all(f"| {row['link'].replace('_', ' ')} | {row['holds']} |" in text for row in links)
    assert "| held-out labels | real-valued | 0 | 60 | 0.70 [0.60, 0.80] |" in text
    assert f"`{SHA}`" in text
    assert "base model: Apache-2.0" in text and "labels: CC-BY-4.0" in text and "to be stated" not in text
    assert "`training.sft.last_layers` | `null`" in text and "`training.sft.learning_rate` | `1e-05`" in text
    # what is on this machine alone
    assert "`scores.csv`" in text and "jane" not in text and "read as dolly" in text


def test_judges_from_outside_have_a_table_of_their_own(run):
    assert "never used" not in written(run)[1]
    wins = {"reference": "sft-0", "win_rate": 0.75, "win_rate_low": 0.5, "win_rate_high": 0.875}
    rows = [row | {"judge": judge} | wins for row in summary() for judge in ("own", "gpt")]
    write_csv(run / "evaluation/summary.csv", "summary", rows)
    _, text = written(run)
    assert "| gpt | main | **round-3** | - | sft-0 | 0.75 [0.50, 0.88] | - |" in text
    assert text.count("**round-3**") == 2 and "| own |" not in text


def test_licenses_that_nobody_stated_are_said_to_be_missing(run):
    metadata, text = written(run, base_license=None, labels_license=None)
    assert "license" not in metadata
    assert "(base_model.license and labels.license of the config)" in text
    known = written(run, base_model="package:smollm2-135m", base_license=None)
    assert known[0]["license"] == PACKAGES["smollm2-135m"].license.lower()
    assert "base_model" not in known[0]
    metadata, _ = written(run, base_license="Gemma Terms of Use")
    assert (metadata["license"], metadata["license_name"]) == ("other", "gemma-terms-of-use")


def test_the_card_of_a_dpo_model_counts_the_pairs(run):
    _, text = written(run, objective="dpo")
    assert "| round 2 | 1 |\n| round 3 | 2 |" in text and "DPO" in text


def test_the_judge_has_a_card_of_its_own(run):
    metadata, text = written(run, "judge")
    assert "judge" in metadata["tags"]
    assert "Rating: [[" in text and "THE RESPONSE" in text and "0 unusable" in text
    assert "| 60 | 0.70" in text and "| 61 |" not in text
    assert "| judge on own responses |" in text and "SFT against base" not in text


def test_a_data_card_has_the_hubs_configs_and_no_labels(run):
    rounds = [2, 3]
    files = {
        kind: [run / f"rounds/{r}/{kind}.parquet" for r in rounds] for kind in ("dataset", "preferences")
    }
    data_card.main(
        files["dataset"],
        files["preferences"],
        run / "evaluation/verdict.csv",
        run / "tables/prompt_filters.csv",
        ROOT / "templates/cards/data.md.jinja",
        run / "cards/data.md",
        run="mine",
        rounds=rounds,
        samples=8,
        selection="random",
        recipe=RECIPE,
        **SOURCES,
    )
    metadata, text = parts(run / "cards/data.md")
    assert metadata["license"] == "cc-by-4.0" and metadata["size_categories"] == "n<1K"
    named = {config["config_name"]: config["data_files"] for config in metadata["configs"]}
    assert named["chosen"] == [{"split": f"round_{r}", "path": f"chosen/round-{r}.parquet"} for r in rounds]
    assert "| round 2 | 4 | 1 |\n| round 3 | 6 | 2 |" in text
    assert "a response chosen at random" in text and "jane" not in text
    assert text.count("SHA-256") == 4


@pytest.mark.parametrize(("text", "shown"), [("a|b\nc", "a\\|b c"), (0.5, "0.5")])
def test_a_cell_cannot_break_its_table(text, shown):
    assert cards.cell(text) == shown


def test_no_job_but_those_of_cards_knows_of_the_licenses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["labels"]["license"], config["base_model"]["license"] = "license-one", "license-two"
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    with plan(tmp_path, "results/default/cards/round-3.md", ["my.yaml"]) as dag:
        knowing = {job.rule.name for job in dag.jobs if "license-" in json.dumps(spec_of(job))}
        assert len(dag.jobs) > 20
    assert knowing == {"model_card"}


@pytest.mark.slow
def test_the_target_makes_cards_that_push_takes(finished_run, tmp_path):
    """After a whole run with stand-ins for the models: the cards, and the files of both repositories."""
    run = finished_run.copy(tmp_path / "run")
    run.finish("cards")
    assert {path.name for path in run.path("cards").iterdir()} == {"round-3.md", "judge.md", "data.md"}
    root = run.path("cards").parent
    assert hub_repository.last_checkpoint(root) == "round-3"
    for checkpoint in ("round-3", "judge"):
        assert "provenance.json" in hub_repository.model_repository(root, checkpoint)
    assert "chosen/round-3.parquet" in hub_repository.data_repository(root)
    _, text = parts(run.path("cards/round-3.md"))
    assert "| round 3 | 3 |" in text and "`sft.jsonl`" in text
