"""Labels as people have them: raw files, with nothing edited by hand.

tests/support/real_labels.py makes the files and says what is in them. Here they go through a run with
stand-ins; the run of tests/test_workflow.py, with real models, is made of them too.
"""

import check_lengths
import fast_run
import pytest
import read_seeds
import real_labels
import tiny_model

from alma.csv_tables import read_csv_table
from alma.errors import InputError
from alma.faulty_rows import settle
from alma.label_summary import SourceCount
from alma.tables import read_table
from alma.workflow.config import ROOT

TABLES = {
    "sft": "sft",
    "judge": "judge",
    "judge_heldout": "judge",
    "judge_benchmark": "judge_pair",
    "eval": "eval",
    "eval_turns": "turns",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The folder with the raw files, and what is in them."""
    folder = tmp_path_factory.mktemp("labels")
    return folder, real_labels.write(folder)


def read(folder, out, **changes):
    """Run read_seeds on the raw files; returns what it says of them."""
    said = []
    paths = [out / f"{name}.parquet" for name in (*TABLES, "judge_prompts")]
    values = {"seed": 0, "sft": str(folder / "sft.jsonl"), "judge": str(folder / "judge.csv")}
    values |= {"scale": real_labels.SCALE, "heldout_fraction": 0.2, "max_bad_rows": 0.02}
    values |= {
        "judge_benchmark": str(folder / "pairs.jsonl"),
        "benchmarks": {"real": str(folder / "eval.jsonl")},
    }
    read_seeds.main(*paths, **(values | changes), say=said.append)
    return "\n".join(said)


def test_the_corpus_is_the_same_each_time(corpus, tmp_path):
    folder, counts = corpus
    assert real_labels.write(tmp_path) == counts
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert all(0 < made["junk"] <= 0.02 * made["rows"] for made in counts.values())
    text = "".join(path.read_bytes().decode(errors="replace") for path in folder.iterdir())
    assert all(token in text for token in ("<mask>", "<|im_end|>", "&nbsp;", "水壶", "Teppiche"))


def test_a_few_rows_that_nobody_can_use_are_left_out_and_counted(corpus, tmp_path, capsys):
    folder, counts = corpus
    said = read(folder, tmp_path)
    rows = {name: read_table(tmp_path / f"{name}.parquet", kind) for name, kind in TABLES.items()}
    assert len(rows["sft"]) == counts["sft.jsonl"]["distinct"]
    judged = {row["response_id"] for name in ("judge", "judge_heldout") for row in rows[name]}
    assert len(judged) == counts["judge.csv"]["distinct"]
    assert len(rows["eval"]) == counts["eval.jsonl"]["distinct"]
    assert len(rows["judge_benchmark"]) == counts["eval.jsonl"]["pairs"]
    assert f"{counts['sft.jsonl']['rows']} rows read" in said and "left out 1: the row: expected" in said
    assert "prompt: expected a prompt that is not in the seeds" in said, "a leak into the evaluation"
    assert capsys.readouterr().out.count("left out: ") >= 6
    read(folder, tmp_path / "again", sft=str(folder / "alpaca.json"))
    alpaca = read_table(tmp_path / "again" / "sft.parquet", "sft")
    assert len(alpaca) == counts["alpaca.json"]["distinct"]


def test_many_rows_that_nobody_can_use_refuse_their_file(corpus, tmp_path):
    with pytest.raises(InputError) as error:
        read(corpus[0], tmp_path, max_bad_rows=0.0)
    message = str(error.value)
    assert "sft.jsonl: line " in message and "judge.csv: row " in message and "eval.jsonl: line " in message
    assert not list(tmp_path.iterdir())


FAULTS = {
    "line": "a.jsonl: line 3: found '{\"p', expected a JSON object (Unterminated string)",
    "same line": "a.jsonl: line 3, prompt: found 3, expected text",
    "row": "a.csv: row 9, score: found 'n/a', expected a number from 0 to 10 (judge.scale)",
    "column": "a.csv: row 8, prompt and response: found [], expected a list, not this: that",
    "lines": "a.jsonl: 2 more lines that are not UTF-8 text",
    "file": "a.csv: missing columns: found 'x', expected prompt",
    "broken": "a.csv: row 2, which begins at line 3: broken CSV: unexpected end; expected quotes in pairs",
}


@pytest.mark.parametrize(
    ("names", "rows", "left_out"),
    [
        (["line", "same line"], 99, 1),
        (["line", "row", "column"], 149, 3),
        (["line", "row", "column"], 148, None),
        (["lines"], 98, 2),
        (["lines"], 97, None),
        (["line", "file"], 1000, None),
        (["broken"], 1000, None),
        ([], 0, 0),
    ],
)
def test_a_share_of_the_rows_decides(names, rows, left_out):
    count, problems = SourceCount("labels.sft", "a", rows), []
    faults = [FAULTS[name] for name in names]
    settle(faults, count, 0.02, problems)
    if left_out is None:
        assert problems == faults and not count.left_out
    else:
        assert not problems and count.left_out.total() == left_out


def test_a_file_of_junk_alone_is_refused_whatever_the_share():
    problems = []
    settle([FAULTS["row"]], SourceCount("labels.judge", "a", 1), 1.0, problems)
    assert problems


def test_long_rows_of_the_corpus_fit_a_short_context_in_one_way_or_another(corpus, tmp_path, monkeypatch):
    """What refused the run is counted; the few-shot examples leave room for it."""
    folder, _ = corpus
    read(folder, tmp_path)
    tokenizer = tiny_model.tiny_tokenizer()
    tokenizer.chat_template = (ROOT / "templates" / "chatml.jinja").read_text().rstrip("\n")
    monkeypatch.setattr(check_lengths, "load_tokenizer", lambda _: tokenizer)
    limits = {"seed": 0, "max_model_len": 1024, "shots": 2, "max_tokens": 40, "judge_shots": 3}
    limits |= {"few_shot_judge": 0, "own_benchmark": None, "own_prompts": 4, "new_prompt_tokens": 60}
    limits |= {"response_tokens": 60, "prompt_shots": [3, 5], "sft_max_length": 512, "judge_max_length": 512}
    tables = [tmp_path / f"{name}.parquet" for name in TABLES]
    check_lengths.main("t", *tables, tmp_path / "ok", tmp_path / "lengths.csv", **limits)
    rows = {row["set"]: row for row in read_csv_table(tmp_path / "lengths.csv", "lengths")}
    for name in ("sft", "judge", "judge_heldout", "judge_benchmark", "eval"):
        assert 0 < rows[name]["too_long"] < rows[name]["rows"] / 3, name
        assert rows[name]["longest"] > 4000 or name != "sft"


@pytest.mark.slow
def test_nothing_too_long_reaches_the_engine_in_a_whole_run(corpus, tmp_path):
    """With stand-ins for the models, whose tokens are characters; their engine refuses what is too long."""
    folder, counts = corpus
    run = fast_run.FastRun.make(tmp_path / "run")
    changes = {
        "engine": {"max_model_len": 1500},
        "labels": {"sft": str(folder / "sft.jsonl"), "judge": str(folder / "judge.csv")},
        "judge": {"scale": real_labels.SCALE, "benchmark": str(folder / "pairs.jsonl"), "shots": 3},
        "prompts": {"shots": [2, 3]},
        "sampling": {"max_tokens": 100},
        "evaluation": {"benchmarks": {"everyday": str(folder / "eval.jsonl")}, "max_tokens": 100},
    }
    changes["judge"] |= {"training": {"max_length": 1500}, "distillation": {"training": {"max_length": 1500}}}
    run.config = fast_run.merged(fast_run.SMALL, changes)
    run.finish()
    lengths = {row["set"]: row for row in read_csv_table(run.path("tables/lengths.csv"), "lengths")}
    for name in ("judge_heldout", "judge_benchmark", "eval"):
        assert 0 < lengths[name]["too_long"] < lengths[name]["rows"]
    answered = read_table(run.path("evaluation/round-3/everyday.parquet"), "evaluation")
    assert len(answered) == counts["eval.jsonl"]["distinct"] - lengths["eval"]["too_long"]
    scored = read_table(run.path("judge/heldout/base.parquet"), "judge_score")
    judges = [
        read_table(run.path(f"judge/heldout/{n}.parquet"), "judge_score") for n in ("judge-seed", "judge")
    ]
    assert all(
        [row["response_id"] for row in rows] == [row["response_id"] for row in scored] for rows in judges
    )
