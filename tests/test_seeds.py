"""read_seeds: every format gives the same tables, every fault is named, nothing depends on order."""

import csv
import gzip
import json
import random
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import read_seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from alma import seed_formats, seed_rows
from alma.duplicates import folded
from alma.errors import InputError
from alma.ids import content_id
from alma.tables import read_table

REPOSITORY = Path(__file__).parent.parent
REVISION = "0123456789abcdef0123456789abcdef01234567"

SFT = [
    {"prompt": "Name a color.", "response": "Blue."},
    {"prompt": "Name a city.\n\nIn France, please.", "response": "Lyon, on the Rhône."},
    {"prompt": "Quote me", "response": 'He said "no", twice.'},
]
JUDGE = [
    {"prompt": "Add 2 and 3.", "response": "5", "score": 10},
    {"prompt": "Add 2 and 3.", "response": "6", "score": 1.5},
    {"prompt": "Add 2 and 3.", "response": "6", "score": 0},
    {"prompt": "Spell cat.", "response": "c a t", "score": 9},
    {"prompt": "Say hello.", "response": "Goodbye.", "score": 2},
]
EVAL = [
    {
        "prompt": "List two fruits.",
        "category": "list",
        "reference": "- fig\n- plum",
        "checks": [{"kind": "bullets", "count": 2}, {"kind": "words", "max": 9}],
    },
    {"prompt": "Why is the sky blue?"},
]
PAIRS = [{"prompt": "Say why.", "chosen": "Because.", "rejected": "No."}]


def write(path: Path, rows: list[dict]) -> str:
    """Write rows in the format of the path's extension."""
    kind = path.suffix.lower()
    if kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    elif kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, fieldnames=columns)
            writer.writeheader()
            for row in rows:
                lists = {k: json.dumps(v) for k, v in row.items() if isinstance(v, list)}
                writer.writerow(row | lists)
    return str(path)


NAMES = ("sft", "judge", "heldout", "pairs", "eval", "turns", "prompts")
KINDS = ("sft", "judge", "judge", "judge_pair", "eval", "turns", "seed_prompt")


class Seeds:
    """A folder with seed files; `read` runs the script's main on them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, str] = {}
        self.runs = 0
        for name, rows in (("sft", SFT), ("judge", JUDGE), ("eval", EVAL)):
            self.put(name, rows)

    def put(self, name: str, rows: list[dict], extension: str = ".jsonl") -> None:
        self.files[name] = write(self.folder / f"{name}{extension}", rows)

    def raw(self, name: str, content: bytes, extension: str = ".jsonl") -> None:
        path = self.folder / f"{name}{extension}"
        path.write_bytes(content)
        self.files[name] = str(path)

    def read(self, **changes) -> dict[str, Path]:
        """Run main; returns the written tables by name."""
        self.runs += 1
        outputs = {name: self.folder / f"out{self.runs}" / f"{name}.parquet" for name in NAMES}
        values = {
            "seed": 0,
            "sft": self.files["sft"],
            "judge": self.files["judge"],
            "scale": [0, 10],
            "heldout_fraction": 0.4,
            "max_bad_rows": 0.02,
            "judge_benchmark": self.files.get("pairs"),
            "benchmarks": {"mine": self.files["eval"]},
        }
        read_seeds.main(*outputs.values(), **(values | changes))
        return outputs

    def rows(self, **changes) -> dict[str, list[dict]]:
        outputs = self.read(**changes)
        kinds = dict(zip(NAMES, KINDS, strict=True))
        return {name: read_table(path, kinds[name]) for name, path in outputs.items()}

    def message(self, **changes) -> str:
        """The message that main ends with; no table may have been written."""
        with pytest.raises(InputError) as caught:
            self.read(**changes)
        assert not list(self.folder.glob("out*")), "written although the seeds are wrong"
        return str(caught.value)


@pytest.fixture
def seeds(tmp_path):
    return Seeds(tmp_path)


# good formats


def test_tables_hold_ids_messages_and_mapped_values(seeds):
    seeds.put("pairs", PAIRS)
    tables = seeds.rows()
    by_id = {row["prompt_id"]: row for row in tables["sft"]}
    row = by_id[content_id("prompt", "Name a color.")]
    assert row["prompt"] == [{"role": "user", "content": "Name a color."}]
    assert row["completion"] == [{"role": "assistant", "content": "Blue."}]
    labels = tables["judge"] + tables["heldout"]
    prompt_id = content_id("prompt", "Add 2 and 3.")
    six = [r for r in labels if r["response_id"] == content_id("response", prompt_id, "6")]
    assert sorted((r["annotator"], r["score"]) for r in six) == [(0, 0.0), (1, 1.5)]
    fruit = next(r for r in tables["eval"] if r["category"] == "list")
    assert json.loads(fruit["checks"]) == EVAL[0]["checks"]
    sky = next(r for r in tables["eval"] if r["category"] is None)
    assert (sky["checks"], sky["reference"], sky["benchmark"]) == ("[]", None, "mine")
    assert tables["pairs"] == [{"prompt_id": content_id("prompt", "Say why."), **PAIRS[0]}]


def test_without_a_judge_benchmark_its_table_is_empty(seeds):
    assert seeds.rows()["pairs"] == []


@pytest.mark.parametrize("extension", [".json", ".csv", ".parquet", ".CSV", ".JSONL"])
def test_every_format_gives_the_same_bytes(seeds, extension):
    seeds.put("pairs", PAIRS)
    expected = seeds.read()
    for name, rows in (("sft", SFT), ("judge", JUDGE), ("eval", EVAL), ("pairs", PAIRS)):
        seeds.put(name, rows, extension)
    found = seeds.read()
    for name in NAMES:
        assert found[name].read_bytes() == expected[name].read_bytes(), name


def _turns(row):
    return [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["response"]},
    ]


SFT_FORMS = {
    "completion": lambda row: {"prompt": row["prompt"], "completion": row["response"]},
    "messages": lambda row: {"messages": _turns(row)},
    "prompt-and-completion-messages": lambda row: {
        "prompt": _turns(row)[:1],
        "completion": _turns(row)[1:],
    },
    "instruction": lambda row: {"instruction": row["prompt"], "output": row["response"]},
    "instruction-and-input": lambda row: {
        "instruction": row["prompt"].partition("\n\n")[0],
        "input": row["prompt"].partition("\n\n")[2],
        "output": row["response"],
    },
    "other-columns": lambda row: {"id": 7, "prompt": row["prompt"], "messages": _turns(row)},
}


# A CSV prompt is text, whatever it starts with.
FORMS = [
    (form, extension)
    for form in SFT_FORMS
    for extension in (".jsonl", ".json", ".csv", ".parquet")
    if (form, extension) != ("prompt-and-completion-messages", ".csv")
]


@pytest.mark.parametrize(("form", "extension"), FORMS)
def test_every_sft_form_gives_the_same_bytes(seeds, form, extension):
    expected = seeds.read()["sft"].read_bytes()
    seeds.put("sft", [SFT_FORMS[form](row) for row in SFT], extension)
    assert seeds.read()["sft"].read_bytes() == expected


def test_a_conversation_trains_on_its_last_turn(seeds):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you"},
    ]
    seeds.put("sft", [{"messages": messages}])
    (row,) = seeds.rows()["sft"]
    assert row["prompt"] == messages[:-1]
    assert row["completion"] == messages[-1:]


@pytest.mark.parametrize("scale", [[1, 5], [-1, 1], [0.0, 100.0]])
def test_scores_are_mapped_linearly(seeds, scale):
    low, high = scale
    values = [low, high, (low + high) / 2]
    rows = [{"prompt": f"p{i}", "response": "r", "score": v} for i, v in enumerate(values)]
    seeds.put("judge", rows)
    tables = seeds.rows(scale=scale)
    found = {r["prompt"]: r["score"] for r in tables["judge"] + tables["heldout"]}
    assert found == {"p0": 0.0, "p1": 10.0, "p2": 5.0}


def test_a_number_in_a_csv_cell_is_one_in_ascii_digits(seeds):
    cells = {"7": 7, " 7 ": 7, "+7.0": 7, ".5": 0.5, "10.": 10, "1e0": 1, "0": 0, "-0": 0}
    rows = [{"prompt": f"p{i}", "response": "r", "score": cell} for i, cell in enumerate(cells)]
    seeds.put("judge", rows, ".csv")
    tables = seeds.rows()
    found = {row["prompt"]: row["score"] for row in tables["judge"] + tables["heldout"]}
    assert found == {f"p{i}": score for i, score in enumerate(cells.values())}


def test_the_format_is_known_by_the_file_and_not_by_its_name(seeds):
    folder = seeds.folder / "my.csv: row 1"
    folder.mkdir()
    seeds.files["judge"] = write(folder / "judge.jsonl", [*JUDGE, {**JUDGE[0], "score": "7"}])
    assert "line 6, score: found '7', expected a number" in seeds.message()


def test_blank_optional_columns_are_absent(seeds):
    seeds.put("eval", [{"prompt": "Say yes.", "category": "", "reference": " "}])
    (row,) = seeds.rows()["eval"]
    assert (row["category"], row["reference"]) == (None, None)


def test_many_repeated_rows_are_counted_and_not_listed(seeds, capsys):
    seeds.put("sft", [*SFT, *[SFT[0]] * 30])
    assert len(seeds.rows()["sft"]) == 3
    printed = capsys.readouterr().out
    assert printed.count("left out, an earlier row is the same") == 5
    assert "left out 30: an earlier row is the same" in printed


readable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: bool(text.strip())
)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(readable, readable, st.floats(0, 10)), min_size=1, max_size=5))
def test_a_csv_file_says_what_was_written(tmp_path_factory, drawn):
    rows = [dict(zip(("prompt", "response", "score"), row, strict=True)) for row in drawn]
    path = write(tmp_path_factory.mktemp("csv") / "labels.csv", rows)
    problems: list[str] = []
    columns = ("prompt", "response")
    found = seed_formats.read_rows(path, read_seeds.JUDGE_COLUMNS, problems)
    texts = [tuple(seed_rows.take_text(row, key, problems) for key in columns) for row in found]
    scores = [seed_rows.take_score(row, [0, 10], problems) for row in found]
    assert not problems
    assert texts == [row[:2] for row in drawn]
    assert scores == pytest.approx([row[2] for row in drawn], abs=1e-12)


def test_a_byte_order_mark_crlf_and_blank_lines_are_no_faults(seeds):
    expected = seeds.read()
    for name in ("sft", "judge", "eval"):
        raw = Path(seeds.files[name]).read_bytes().replace(b"\n", b"\r\n\r\n")
        seeds.raw(name, b"\xef\xbb\xbf" + raw)
    found = seeds.read()
    assert all(found[name].read_bytes() == expected[name].read_bytes() for name in NAMES)


def test_the_order_of_rows_changes_no_byte(seeds):
    judge = [{"prompt": f"p{i % 9}", "response": f"r{i % 20}", "score": i % 11} for i in range(60)]
    benchmark = [{"prompt": f"e{i}", "category": "x"} for i in range(20)]
    pairs = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b"} for i in range(20)]
    sft = [{"prompt": f"s{i % 7}", "response": f"r{i}"} for i in range(30)]
    outputs = []
    for order in (None, 1, 2):
        for name, rows in (("sft", sft), ("judge", judge), ("eval", benchmark), ("pairs", pairs)):
            rows = list(rows)
            if order:
                random.Random(order).shuffle(rows)
            seeds.put(name, rows)
        outputs.append([path.read_bytes() for path in seeds.read().values()])
    assert outputs[0] == outputs[1] == outputs[2]


def test_duplicates_and_unused_columns_are_noted_once(seeds, capsys):
    seeds.put("sft", [{**row, "mood": "fine"} for row in [*SFT, SFT[0]]])
    seeds.put("eval", [*EVAL, EVAL[1]])
    tables = seeds.rows()
    assert len(tables["sft"]) == 3
    assert len(tables["eval"]) == 2
    printed = capsys.readouterr().out
    assert printed.count("columns that are not used: mood") == 1
    assert "sft.jsonl: line 4: left out" in printed
    assert "eval.jsonl: line 3: left out" in printed


# the split


@pytest.mark.parametrize(("fraction", "count"), [(0.2, 20), (0.01, 1), (0.001, 1), (0.999, 99)])
def test_heldout_prompts_are_whole_and_exact_in_number(seeds, fraction, count):
    rows = [{"prompt": f"p{i % 100}", "response": f"r{i}", "score": 5} for i in range(300)]
    seeds.put("judge", rows)
    tables = seeds.rows(heldout_fraction=fraction)
    sides = [{row["prompt"] for row in tables[name]} for name in ("judge", "heldout")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 100
    assert len(sides[1]) == count
    assert len(tables["judge"]) + len(tables["heldout"]) == 300


def test_the_split_follows_the_seed_and_not_the_rows(seeds):
    rows = [{"prompt": f"p{i}", "response": "r", "score": 5} for i in range(50)]
    seeds.put("judge", rows)
    first = {row["prompt"] for row in seeds.rows()["heldout"]}
    assert first != {row["prompt"] for row in seeds.rows(seed=1)["heldout"]}
    # One more prompt moves at most a few of the others.
    seeds.put("judge", [*rows, {"prompt": "new", "response": "r", "score": 5}])
    assert len(first - {row["prompt"] for row in seeds.rows()["heldout"]}) <= 1


def judged(*names, scores=(5,)):
    return [{"prompt": name, "response": "r", "score": score} for name in names for score in scores]


def test_annotations_are_labels_on_0_to_10_whatever_the_scale_is(seeds):
    seeds.put("judge", [*judged(*(f"p{i}" for i in range(10)), scores=(1,)), *judged("both", scores=(5,))])
    seeds.put("more", [*judged("new", "new2", scores=(3, 9)), *judged("both", scores=(8,))])
    tables = seeds.rows(scale=[1, 5], annotations=[seeds.files["more"]])
    found: dict[str, list[float]] = {}
    for row in [*tables["judge"], *tables["heldout"]]:
        found.setdefault(row["prompt"], []).append(row["score"])
    assert found.pop("both") == [8, 10], "of both files, as those of two annotators"
    assert found.pop("new") == found.pop("new2") == [3, 9]
    assert set(map(tuple, found.values())) == {(0,)}
    prompts = {row["prompt"] for row in tables["prompts"]}
    assert prompts == {"both", *found}, "a new prompt may overlap what was annotated"


def test_a_file_of_annotations_moves_no_other_prompt_over_the_split(seeds):
    seeds.put("judge", judged(*(f"p{i}" for i in range(20))))
    seeds.put("first", judged(*(f"q{i}" for i in range(20)), "p0", "P1 "))
    seeds.put("second", judged(*(f"r{i}" for i in range(5)), "q0", "p2"))
    heldout = [
        {" ".join(row["prompt"].casefold().split()) for row in tables["heldout"]}
        for files in ([], ["first"], ["first", "second"])
        for tables in [seeds.rows(annotations=[seeds.files[name] for name in files])]
    ]
    assert heldout[0] < heldout[1] < heldout[2]
    assert [len(prompts) for prompts in heldout] == [8, 16, 18], "0.4 of each file's own prompts"


def test_faults_of_annotations_name_their_file_and_the_evaluation_stays_apart(seeds):
    seeds.put("more", [*judged("a", scores=(11,)), *judged(EVAL[0]["prompt"])])
    message = seeds.message(scale=[0, 100], annotations=[seeds.files["more"]])
    assert "more.jsonl: line 1, score: found 11, expected a number from 0 to 10 (annotations)" in message
    assert (
        "expected a prompt that is not in the seeds (it is in " in message
        and "more.jsonl: line 2)" in message
    )


def test_one_annotated_prompt_is_trained_on(seeds):
    seeds.put("more", judged("one"))
    tables = seeds.rows(annotations=[seeds.files["more"]])
    assert "one" in {row["prompt"] for row in tables["judge"]}


TALK = [
    {"role": "user", "content": "Name a river."},
    {"role": "assistant", "content": "The Loire."},
    {"role": "user", "content": "Is it long?"},
]


@pytest.mark.parametrize("extension", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_judged_conversation_is_read_as_one_text(seeds, extension):
    other = {"messages": [{"role": "user", "content": "Name a tree."}], "response": "An oak.", "score": 9}
    rows = [{"messages": TALK, "response": "Yes.", "score": 8}, other]
    if extension == ".csv":
        rows = [row | {"messages": json.dumps(row["messages"])} for row in rows]
    seeds.put("judge", rows, extension)
    tables = seeds.rows()
    found = {(row["prompt"], row["response"]) for name in ("judge", "heldout") for row in tables[name]}
    text = "User: Name a river.\n\nAssistant: The Loire.\n\nUser: Is it long?"
    assert found == {(text, "Yes."), ("Name a tree.", "An oak.")}


def test_conversations_that_begin_alike_stay_on_one_side(seeds):
    starts = [[{"role": "user", "content": f"Question {i}"}, *TALK[1:]] for i in range(10)]
    rows = [{"messages": talk[:n], "response": "r", "score": 5} for talk in starts for n in (1, 3)]
    seeds.put("judge", rows)
    tables = seeds.rows()
    sides = [
        {row["prompt"].splitlines()[0].split("User: ")[-1] for row in tables[n]} for n in ("judge", "heldout")
    ]
    assert not sides[0] & sides[1] and [len(side) for side in sides] == [6, 4]


def test_the_first_question_of_a_judged_conversation_is_kept_from_the_evaluation(seeds):
    seeds.put("judge", [*JUDGE, {"messages": TALK, "response": "Yes.", "score": 5}])
    seeds.put("eval", [{"prompt": "name a  river."}])
    assert "expected a prompt that is not in the seeds" in seeds.message()


def test_a_judged_conversation_has_an_answer_after_each_question(seeds):
    twice = [TALK[0], TALK[2]]
    seeds.put("judge", [*JUDGE, {"messages": twice, "response": "r", "score": 5}])
    assert "line 6, messages: found" in seeds.message()
    assert "expected the roles user, assistant, user, ..." in seeds.message()


def test_spellings_of_one_prompt_stay_on_one_side(seeds):
    rows = [
        {"prompt": text, "response": "r", "score": 5}
        for i in range(30)
        for text in (f"Count to {i}", f"count  to {i} ")
    ]
    seeds.put("judge", rows)
    tables = seeds.rows()
    sides = [{folded(row["prompt"]) for row in tables[name]} for name in ("judge", "heldout")]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 12


# faults of rows: (file, bad row, what the message holds)

LONG = "x" * 5000
BAD_ROWS = {
    "response-missing": ("sft", {"prompt": "p"}, "response: found nothing, expected text"),
    "prompt-missing": ("sft", {"response": "p"}, "prompt: found nothing, expected text"),
    "no-known-columns": ("sft", {"a": 1}, "expected messages, or prompt and response"),
    "empty": ("sft", {"prompt": "", "response": "r"}, "prompt: found '', expected text that is not"),
    "blank": ("sft", {"prompt": "p", "response": " \n\t"}, "response: found ' \\n\\t', expected text"),
    "number-as-text": ("sft", {"prompt": 3, "response": "r"}, "prompt: found 3, expected text"),
    "object-as-text": ("sft", {"prompt": {"a": 1}, "response": "r"}, "prompt: found {'a': 1}"),
    "nul": ("sft", {"prompt": "a\0b", "response": "r"}, "text without NUL characters"),
    "surrogate": ("sft", {"prompt": "a\ud800", "response": "r"}, "surrogate"),
    "two-answers": ("sft", {"prompt": "p", "response": "a", "completion": "b"}, "completion: found"),
    "shortened": ("sft", {"prompt": "p", "response": LONG + "\0"}, "xxx..., expected"),
    "input-type": ("sft", {"instruction": "p", "input": 3, "output": "r"}, "input: found 3"),
    "output-missing": ("sft", {"instruction": "p"}, "output: found nothing"),
    "messages-type": ("sft", {"messages": "hello"}, "expected a list of messages"),
    "messages-empty": ("sft", {"messages": []}, "expected a list of messages"),
    "messages-keys": ("sft", {"messages": [{"from": "human"}]}, "a role and a content in message 1"),
    "messages-order": (
        "sft",
        {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "u"}]},
        "not assistant, user",
    ),
    "messages-role": (
        "sft",
        {"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "u"}]},
        "not tool, assistant",
    ),
    "messages-end": (
        "sft",
        {"messages": [{"role": "user", "content": "u"}]},
        "messages that end with the assistant's",
    ),
    "messages-late-system": (
        "sft",
        {"messages": [{"role": "user", "content": "u"}, {"role": "system", "content": "s"}]},
        "at most one system message",
    ),
    "messages-blank": (
        "sft",
        {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "a"}]},
        "not blank in message 1",
    ),
    "completion-of-two": (
        "sft",
        {
            "prompt": "p",
            "completion": [
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a"},
            ],
        },
        "a completion of one message",
    ),
    "score-nan": (
        "judge",
        {"prompt": "p", "response": "r", "score": float("nan")},
        "score: found nan, expected a number from 0 to 10 (judge.scale)",
    ),
    "score-inf": ("judge", {"prompt": "p", "response": "r", "score": float("inf")}, "found inf"),
    "score-text": ("judge", {"prompt": "p", "response": "r", "score": "good"}, "found 'good'"),
    "score-digits": ("judge", {"prompt": "p", "response": "r", "score": "7"}, "found '7'"),
    "score-bool": ("judge", {"prompt": "p", "response": "r", "score": True}, "found True"),
    "score-null": ("judge", {"prompt": "p", "response": "r", "score": None}, "found nothing"),
    "score-list": ("judge", {"prompt": "p", "response": "r", "score": [7]}, "found [7]"),
    "score-high": ("judge", {"prompt": "p", "response": "r", "score": 10.01}, "found 10.01"),
    "score-low": ("judge", {"prompt": "p", "response": "r", "score": -1}, "found -1"),
    "score-huge": ("judge", {"prompt": "p", "response": "r", "score": 10**400}, "score: found 1000"),
    "judge-response": ("judge", {"prompt": "p", "score": 3}, "response: found nothing"),
    "checks-kind": ("eval", {"prompt": "p", "checks": [{"kind": "rhyme"}]}, "checks: found"),
    "checks-type": ("eval", {"prompt": "p", "checks": {"kind": "lines"}}, "checks is not a list"),
    "checks-entry": ("eval", {"prompt": "p", "checks": ["lines"]}, "check 0"),
    "checks-surrogate": (
        "eval",
        {"prompt": "p", "checks": [{"kind": "equals", "text": "\ud800"}]},
        "surrogate",
    ),
    "category-type": ("eval", {"prompt": "p", "category": 3}, "category: found 3, expected text"),
    "eval-in-sft": ("eval", {"prompt": " name A color. "}, "sft.jsonl: line 1)"),
    "eval-in-judge": ("eval", {"prompt": "Spell cat."}, "judge.jsonl: line 4)"),
    "eval-twice": ("eval", {"prompt": "Why is the sky blue?", "category": "x"}, "eval.jsonl: line 2"),
    "chosen-missing": ("pairs", {"prompt": "p", "rejected": "r"}, "chosen: found nothing"),
    "chosen-is-rejected": ("pairs", {"prompt": "p", "chosen": "r", "rejected": "r"}, "than chosen"),
    "pair-in-judge": ("pairs", {"prompt": "Spell cat.", "chosen": "a", "rejected": "b"}, "judge.jsonl"),
}
GOOD = {"sft": SFT, "judge": JUDGE, "eval": EVAL, "pairs": PAIRS}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_with_what_was_found_and_expected(seeds, case):
    name, row, expected = BAD_ROWS[case]
    seeds.put(name, [*GOOD[name], row])
    message = seeds.message()
    place = f"{name}.jsonl: line {len(GOOD[name]) + 1}"
    (line,) = [line for line in message.splitlines()[1:] if line.strip()]
    assert place in line
    assert expected in line
    assert "expected" in line
    assert len(line) < 600


TOKENS = "<|im_start|> <|im_end|> <|endoftext|> <s> </s> <bos> <eos> <start_of_turn> <end_of_turn>"
TOKENS += " <|eot_id|> <|begin_of_text|> <|start_header_id|> <pad> [INST] <<SYS>>"


@pytest.mark.parametrize("token", TOKENS.split())
def test_the_text_of_a_special_token_is_text(seeds, token):
    """It is inert wherever it is tokenized (tests/test_bad_input.py), so no row is refused for it."""
    seeds.put("sft", [*SFT, {"prompt": "p", "response": f"a{token}b"}])
    seeds.put("judge", [*JUDGE, {"prompt": f"{token} x", "response": "r", "score": 3}])
    seeds.put("eval", [*EVAL, {"prompt": f"x {token}"}])
    tables = seeds.rows()
    assert f"a{token}b" in [row["completion"][0]["content"] for row in tables["sft"]]
    assert f"{token} x" in [row["prompt"] for row in tables["judge"] + tables["heldout"]]
    assert f"x {token}" in [row["prompt"] for row in tables["eval"]]


# faults of files


def test_all_faults_of_all_files_come_at_once(seeds):
    seeds.put("sft", [{"prompt": " ", "response": ""}, *SFT])
    seeds.put("judge", [*JUDGE, {"prompt": "p", "response": "r", "score": 11}])
    seeds.raw("eval", b'{"prompt": "ok"}\n{"prompt": \n')
    seeds.files["pairs"] = str(seeds.folder / "absent.csv")
    message = seeds.message()
    for part in (
        "sft.jsonl: line 1, prompt:",
        "sft.jsonl: line 1, response:",
        "judge.jsonl: line 6, score: found 11",
        "eval.jsonl: line 2: found",
        "absent.csv: no such file",
    ):
        assert part in message
    assert len(message.splitlines()) == 6


BAD_FILES = {
    "not-utf-8": (".jsonl", b'{"prompt": "a"}\n{"prompt": "\xe9"}\n', "line 2: found the byte 0xe9"),
    "utf-16": (".jsonl", '{"prompt": "a"}'.encode("utf-16"), "found UTF-16 text, expected UTF-8"),
    "nul-byte": (".jsonl", b'{"prompt": "a"}\n\n{"pro\0mpt"}', "line 3: found a NUL byte"),
    "broken-line": (".jsonl", b'{"prompt": "a"}\n{"prompt": "b"', 'line 2: found \'{"prompt"'),
    "not-an-object": (".jsonl", b'["prompt"]\n', "line 1: found ['prompt'], expected a JSON object"),
    "deep": (".jsonl", b"[" * 100_000, "line 1: found"),
    "long-number": (".jsonl", b'{"prompt": ' + b"9" * 5000 + b"}", "line 1: found"),
    "empty": (".jsonl", b"", "found no rows"),
    "blank-lines": (".jsonl", b"\n \n", "found no rows"),
    "json-broken": (".json", b'[{"prompt": "a"},\n{"prompt" "b"}]', "line 2"),
    "json-lines": (".json", b'{"prompt": "a"}\n{"prompt": "b"}', "name the file .jsonl"),
    "json-object": (".json", b'{"rows": []}', "expected a list of objects"),
    "json-entry": (".json", b'[{"prompt": "a"}, 3]', "row 2: found 3, expected an object"),
    "json-empty": (".json", b"[]", "found no rows"),
    "json-not-utf-8": (".json", b'[{"prompt":\n"\xff"}]', "line 2: found the byte 0xff"),
    "csv-header-only": (".csv", b"prompt,category\n", "found no rows"),
    "csv-empty": (".csv", b"", "found no rows"),
    "csv-cells": (".csv", b"prompt,category\na,b\nc\n", "row 2: found 1 cells, expected 2"),
    "csv-twice": (".csv", b"prompt,prompt\na,b\n", "found the column 'prompt' twice"),
    "csv-quote": (".csv", b'prompt\n"a\n', "broken CSV"),
    "csv-other-delimiter": (".csv", b"prompt;category\na;b\n", "missing columns: found"),
    "csv-not-utf-8": (".csv", b"prompt\na\nb\xff\n", "line 3: found the byte 0xff"),
    "csv-checks": (".csv", b'prompt,checks\na,"[{""kind"": 3}]"\n', "row 1, checks"),
    "csv-empty-cell": (".csv", b"prompt,category\n,b\na,b\n", "row 1, prompt: found nothing"),
    "missing-column": (".jsonl", b'{"text": "a"}\n', "missing columns: found 'text'"),
    "parquet-broken": (".parquet", b"PAR1 but not really PAR1", "not a readable Parquet file"),
    "parquet-empty-file": (".parquet", b"", "not a readable Parquet file"),
    "extension": (".txt", b"hello", "found the extension '.txt', expected one of .jsonl"),
    "gz": (".jsonl.gz", b"hello", "not a readable gzip file"),
    "gz-cut": (".jsonl.gz", gzip.compress(b'{"prompt": "a"}\n' * 99)[:-9], "not a readable gzip file"),
    "gz-of-another-kind": (".parquet.gz", b"hello", "found the extension '.gz'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_its_line(seeds, case):
    extension, raw, expected = BAD_FILES[case]
    seeds.raw("eval", raw, extension)
    message = seeds.message()
    assert expected in message
    assert f"eval{extension}" in message
    assert len(message) < 1500


def test_many_broken_lines_do_not_hide_other_files(seeds):
    seeds.raw("sft", b"\xff\n" * 500)
    seeds.put("judge", [*JUDGE, {"prompt": "p", "response": "r", "score": 11}])
    message = seeds.message()
    assert "495 more lines that are not UTF-8 text" in message
    assert "judge.jsonl: line 6" in message


@pytest.mark.parametrize("rows", [JUDGE[:1], JUDGE[:3], [JUDGE[0], {**JUDGE[1], "prompt": "add 2 AND 3."}]])
def test_fewer_than_two_judged_prompts_are_refused(seeds, rows):
    seeds.put("judge", rows)
    assert "found 1 judged prompt, expected at least 2" in seeds.message()


@pytest.mark.parametrize("column", ["prompt", "response", "score"])
def test_a_missing_column_is_one_line(seeds, column):
    rows = [{k: v for k, v in row.items() if k != column} for row in JUDGE]
    seeds.put("judge", rows, ".csv")
    message = seeds.message()
    assert "judge.csv: missing columns" in message
    assert len(message.splitlines()) == 2


def test_parquet_of_wrong_types_is_refused(seeds):
    table = pa.table({"prompt": pa.array([b"a", b"b"]), "response": [1, 2], "score": [True, False]})
    path = seeds.folder / "judge.parquet"
    pq.write_table(table, path)
    seeds.files["judge"] = str(path)
    message = seeds.message()
    for column in ("prompt", "response", "score"):
        assert f"judge.parquet: row 1, {column}: found" in message


def test_parquet_larger_than_the_limit_is_refused_by_its_metadata(seeds, monkeypatch):
    seeds.put("eval", EVAL, ".parquet")
    monkeypatch.setattr(seed_formats, "MAX_BYTES", 50)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("was read"))
    problems: list[str] = []
    path = seeds.folder / "eval.parquet"
    assert seed_formats._read_parquet("eval.parquet", path, {"prompt"}, problems) == ([], [])
    assert "expected at most" in problems[0]


def test_parquet_that_grows_when_read_is_refused(seeds, monkeypatch):
    # One text of 100 kB, stored once and repeated 2,000 times: 200 MB when read.
    path = seeds.folder / "eval.parquet"
    pq.write_table(pa.table({"prompt": ["x" * 100_000] * 2000}), path)
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr(seed_formats, "MAX_BYTES", 60_000_000)
    seeds.files["eval"] = str(path)
    assert "eval.parquet: found more than" in seeds.message()


@pytest.mark.parametrize("extension", [".jsonl", ".json", ".csv"])
def test_a_compressed_file_gives_the_same_bytes(seeds, extension):
    expected = seeds.read()["judge"].read_bytes()
    seeds.put("judge", JUDGE, extension)
    seeds.raw("judge", gzip.compress(Path(seeds.files["judge"]).read_bytes()), f"{extension}.gz")
    assert seeds.read()["judge"].read_bytes() == expected


def test_a_compressed_file_that_grows_when_read_is_refused(seeds, monkeypatch):
    seeds.raw("eval", gzip.compress(b'{"prompt": "' + b"x" * 1_000_000 + b'"}'), ".jsonl.gz")
    assert Path(seeds.files["eval"]).stat().st_size < 10_000
    monkeypatch.setattr(seed_formats, "MAX_BYTES", 500_000)
    assert "eval.jsonl.gz: found more than" in seeds.message()


def test_text_files_larger_than_the_limit_are_refused(seeds, monkeypatch):
    monkeypatch.setattr(seed_formats, "MAX_BYTES", 10)
    assert seeds.message().count("MiB, expected at most") == 3


# the hub


@pytest.fixture
def hub(monkeypatch):
    """Stands for `datasets.load_dataset`; notes its arguments."""
    datasets = pytest.importorskip("datasets")
    calls: list[tuple] = []

    def install(rows):
        def load_dataset(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(rows, Exception):
                raise rows
            return datasets.Dataset.from_list(rows)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return install


@pytest.mark.parametrize(("suffix", "split"), [("", "train"), (":test", "test"), (":a[:5]", "a[:5]")])
def test_a_hub_data_set_is_loaded_at_its_revision(seeds, hub, suffix, split):
    expected = seeds.read()["eval"].read_bytes()
    calls = hub(EVAL)
    found = seeds.read(benchmarks={"mine": f"hub:someone/things@{REVISION}{suffix}"})
    assert calls == [(("someone/things",), {"revision": REVISION, "split": split})]
    assert found["eval"].read_bytes() == expected


def test_one_special_token_does_not_refuse_a_hub_data_set(seeds, hub):
    hub([*JUDGE, {"prompt": "Fill <mask>.", "response": "a</s>", "score": 3}])
    tables = seeds.rows(judge=f"hub:someone/labels@{REVISION}")
    assert ("Fill <mask>.", "a</s>") in {
        (row["prompt"], row["response"]) for row in tables["judge"] + tables["heldout"]
    }


def test_faults_of_a_hub_data_set_name_the_row(seeds, hub):
    hub([{**JUDGE[0], "more": 1}, {**JUDGE[3], "score": 99, "more": 2}])
    message = seeds.message(judge=f"hub:someone/labels@{REVISION}")
    assert f"hub:someone/labels@{REVISION}: row 2, score: found 99" in message


def test_a_hub_data_set_that_cannot_be_loaded_is_a_message(seeds, hub):
    hub(ConnectionError("no route"))
    message = seeds.message(sft=f"hub:someone/pairs@{REVISION}")
    assert "cannot be loaded from the hub: ConnectionError: no route" in message


@pytest.mark.parametrize("source", ["hub:a/b", "hub:@abc", "hub:a/b@"])
def test_a_hub_source_needs_a_name_and_a_revision(seeds, source):
    assert "expected hub:OWNER/NAME@REVISION" in seeds.message(sft=source)


# as a script


def test_the_script_hands_its_outputs_to_main_by_name(seeds, monkeypatch):
    names = ("sft", "judge", "judge_heldout", "judge_benchmark", "eval", "eval_turns", "judge_prompts")
    outputs = {name: str(seeds.folder / "job" / f"{name}.parquet") for name in names}
    config = {
        "seed": 0,
        "sft": seeds.files["sft"],
        "judge": seeds.files["judge"],
        "scale": [0, 10],
        "heldout_fraction": 0.4,
        "max_bad_rows": 0.02,
        "judge_benchmark": None,
        "benchmarks": {"mine": seeds.files["eval"]},
    }

    class Job:
        def __init__(self, snakemake):
            pass

        def __enter__(self):
            return config

        def __exit__(self, *error):
            return None

    monkeypatch.setitem(sys.modules, "alma.workflow.job", types.SimpleNamespace(job=Job, tell=print))
    script = REPOSITORY / "scripts" / "read_seeds.py"
    snakemake = types.SimpleNamespace(output=types.SimpleNamespace(**outputs))
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), {"snakemake": snakemake})
    kinds = dict(zip(names, KINDS, strict=True))
    for name, path in outputs.items():
        read_table(path, kinds[name])
    assert len(read_table(outputs["judge_heldout"], "judge")) > 0


def test_a_category_is_kept_and_one_that_is_no_text_refuses_nothing(seeds):
    rows = [row | {"category": value} for row, value in zip(SFT, ("list", 7, "  "), strict=True)]
    # The same pair under two names: the order of the rows must decide nothing.
    seeds.put("sft", [*rows, rows[0] | {"category": "advice"}])
    found = {row["prompt"][0]["content"]: row["category"] for row in read_table(seeds.read()["sft"], "sft")}
    assert list(found.values()).count(None) == 2
    assert found["Name a color."] == "advice"
