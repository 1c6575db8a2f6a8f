"""IFEval: what lm-eval's checkers say of the run's responses, and what is said where they cannot be asked.

The tests of this page with the real checkers are in test_lm_eval.py (`make test-services`).
"""

import json
import sys

import measure_ifeval
import probe_lm_eval
import pytest
import yaml
from fake_lm_eval import write_packages
from rule_texts import ROOT

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.ids import content_id
from alma.ifeval import documents, graded
from alma.tables import write_table
from alma.workflow.plan import plan, spec_of


def doc(prompt, *words, **more):
    """A row of the file: each word has to be in the response."""
    ids, arguments = ["has:word"] * len(words), [{"word": word, "other": None} for word in words]
    return {"key": prompt, "prompt": prompt, "instruction_id_list": ids, "kwargs": arguments} | more


DOCS = [doc("p1", "x", "y"), doc("p2", "x"), doc("p3", "z"), doc("p4", "x", kwargs=[])]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "ifeval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in DOCS))
    return str(path)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """This Python stands for lm-eval's, with stand-ins for its packages."""
    write_packages(tmp_path / "packages")
    monkeypatch.setenv("ALMA_LM_EVAL", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "packages" / "nltk_data"))


def test_documents_have_the_ids_of_the_evaluation_prompts(source):
    found = documents("ifeval", source)
    assert [doc["prompt"] for doc in found.values()] == ["p1", "p2", "p3"], "p4 lacks its arguments"
    assert next(iter(found)) == content_id("prompt", "p1")


def test_a_file_of_another_shape_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p"}\n')
    with pytest.raises(InputError, match=r"evaluation\.benchmarks\.b cannot(.|\n)*missing columns") as caught:
        documents("b", str(path))
    assert "instruction_id_list and kwargs and prompt" in str(caught.value)


def test_shares_by_hand():
    """Prompts: strict 1 of 3, loose 2 of 3; of their 5 instructions 3 and 4 are followed."""
    followed = {
        "a": {"strict": [True, True], "loose": [True, True]},
        "b": {"strict": [False, True], "loose": [True, True]},
        "c": {"strict": [False], "loose": [False]},
    }
    row = measure_ifeval.shares(followed, 0, 200)
    assert (row["prompts"], row["instructions"]) == (3, 5)
    assert row["prompt_strict"] == pytest.approx(1 / 3) and row["prompt_loose"] == pytest.approx(2 / 3)
    assert row["instruction_strict"] == 3 / 5 and row["instruction_loose"] == 4 / 5
    assert row["prompt_strict_low"] <= row["prompt_strict"] <= row["prompt_strict_high"]


def test_the_gap_to_the_sft_is_paired_by_prompt():
    """On a: 1 - 1/2, on b: 0 - 1; on c the SFT checkpoints have no response."""
    yes, no = ({"strict": [value], "loose": [value]} for value in (True, False))
    found = measure_ifeval.gap(
        {"a": yes, "b": no, "c": yes}, [{"a": yes, "b": yes}, {"a": no, "b": yes}], 0, 200
    )
    assert found["vs_sft"] == pytest.approx((0.5 - 1) / 2)
    assert measure_ifeval.gap({"a": yes}, [], 0, 200)["vs_sft"] is None


def answer(prompt, text, checkpoint):
    keys = {"prompt_id": content_id("prompt", prompt), "response_id": prompt, "checkpoint": checkpoint}
    more = {"sample": 0, "seed": 0, "finish_reason": "stop", "tokens": 3, "benchmark": "if", "passed": []}
    return keys | more | {"response": text}


def test_every_checkpoint_is_measured(tmp_path, source, environment):
    texts = {"base": ["", "", ""], "sft-0": ["x y", "no", "*z*"], "round-2": ["x", "x", "z"]}
    tables = {}
    for checkpoint, answers in texts.items():
        path = tmp_path / f"{checkpoint}.parquet"
        rows = [answer(f"p{i}", text, checkpoint) for i, text in enumerate(answers, start=1)]
        # Of a prompt that is not in the file any more nothing can be said.
        write_table(path, "evaluation_response", [*rows, answer("gone", "x", checkpoint)])
        tables["if", checkpoint] = path
    out = tmp_path / "ifeval.csv"
    measure_ifeval.main(tables, out, seed=0, benchmarks={"if": source}, resamples=100)
    rows = {row["checkpoint"]: row for row in read_csv_table(out, "ifeval")}
    assert list(rows) == ["base", "sft-0", "round-2"] and {row["prompts"] for row in rows.values()} == {3}
    strict = {name: round(row["prompt_strict"] * 3) for name, row in rows.items()}
    assert strict == {"base": 0, "sft-0": 1, "round-2": 2}
    assert round(rows["sft-0"]["prompt_loose"] * 3) == 2
    assert rows["round-2"]["instruction_strict"] == 0.75
    assert rows["round-2"]["vs_sft"] == pytest.approx(1 / 3, abs=1e-5) and rows["sft-0"]["vs_sft"] is None


def test_an_argument_by_chance_hangs_on_the_prompt_alone(environment):
    chance = {"key": 0, "prompt": "p", "instruction_id_list": ["chance"], "kwargs": [{}]}
    rows = [(f"id{i}", chance, "a") for i in range(20)]
    forward, versions = graded(rows, 0)
    backward, _ = graded(rows[::-1], 0)
    assert forward == backward[::-1] and {found["strict"][0] for found in forward} == {True, False}
    assert versions == {"lm_eval": "0.9", "langdetect": "0.8", "nltk": "0.7"}


def test_the_probe_grades_every_prompt(tmp_path, source, environment):
    probe_lm_eval.main(tmp_path / "checked.txt", ifeval={"if": source})
    text = (tmp_path / "checked.txt").read_text()
    assert "evaluation.benchmarks.if: 3 prompts can be graded" in text and "lm_eval 0.9" in text


def test_what_lacks_is_said_before_anything_is_trained(tmp_path, source, environment, monkeypatch):
    out = tmp_path / "checked.txt"
    with monkeypatch.context() as place:
        place.setenv("NLTK_DATA", str(tmp_path))
        with pytest.raises(InputError, match=r"IFEval: found no tokenizers/punkt_tab/english .*NLTK_DATA"):
            probe_lm_eval.main(out, ifeval={"if": source})
    with monkeypatch.context() as place:
        place.setenv("ALMA_LM_EVAL", str(tmp_path / "no" / "python"))
        with pytest.raises(InputError, match=r"found no .*no/python, expected its Python\. Make"):
            probe_lm_eval.main(out, ifeval={"if": source})
    (tmp_path / "packages" / "nltk.py").write_text("raise SystemExit('a broken package')")
    with pytest.raises(InputError, match=r"ended with the exit status 1:\n  a broken package"):
        probe_lm_eval.main(out, ifeval={"if": source})
    assert not out.exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            doc("p9", "x", instruction_id_list=["has:nothing"]),
            "found the instructions has:nothing",
        ),
        (doc("p9", "x", kwargs=[{}]), "the arguments of the prompt p9 do not fit its instructions .KeyError"),
    ],
)
def test_a_prompt_that_cannot_be_graded_is_named(tmp_path, environment, row, message):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=message):
        probe_lm_eval.main(tmp_path / "checked.txt", ifeval={"if": str(path)})


def test_a_run_with_ifeval_is_measured(tmp_path, monkeypatch, source):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["evaluation"]["benchmarks"] |= {"instructions": "ifeval:ifeval.jsonl"}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    with plan(tmp_path, "results/default/report.html", ["my.yaml"]) as dag:
        (measure,) = [job for job in dag.jobs if job.rule.name == "measure_ifeval"]
        (probe,) = [job for job in dag.jobs if job.rule.name == "probe_lm_eval"]
        given = spec_of(measure)["config"]
        folder = "results/default/evaluation/responses"
        wanted = [f"{folder}/{name}/instructions.parquet" for name in given["checkpoints"]]
        assert list(measure.input.responses) == wanted and len(wanted) == 5
        assert given["benchmarks"] == {"instructions": "ifeval.jsonl"} == spec_of(probe)["config"]["ifeval"]
        assert probe in dag.dependencies[measure] and not dag.dependencies[probe]
