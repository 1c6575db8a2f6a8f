"""What people rated, from Label Studio's export and from tables, to a file of labels."""

import csv
import json

import pytest
from corpus import ODD_TEXTS

from alma.annotation import label_studio_tasks, response_key, sheet_rows
from alma.csv_tables import write_csv_table
from alma.errors import InputError
from alma.label_import import import_files, main
from alma.seed_formats import read_rows

ASKED = [
    ("Why is ice slippery?", "A thin film of water lies on it.", "- it is cold\n- it is smooth"),
    ("Nenne drei Flüsse.", "Rhein, Elbe, Donau.", 'Der "Rhein", =SUM(1), <b>x</b>'),
    ("Add two and two.", "Four.", "It may be 5, I think."),
]


def sheet(folder, scores, name="ben.csv", annotator="", change=lambda row: row):
    """A filled tasks.csv; `scores` has one per response, None where it was left empty."""
    rows = [
        {
            "task": task,
            "letter": letter,
            "prompt": prompt,
            "response": text,
            "score": score,
            "annotator": annotator,
            "key": response_key(prompt, text),
        }
        for (task, letter, prompt, text), score in zip(
            [(n, "AB"[i], p, (a, b)[i]) for n, (p, a, b) in enumerate(ASKED, 1) for i in (0, 1)],
            scores,
            strict=True,
        )
    ]
    write_csv_table(folder / name, "annotation", [change(row) for row in rows])
    return folder / name


def result(letter, value):
    return {
        "id": "x",
        "from_name": f"score_{letter}",
        "to_name": f"response_{letter}",
        "type": "choices",
        "origin": "manual",
        "value": value,
    }


def annotation(who, scores, when="2026-11-25T10:00:00Z", seconds=30.0, skipped=False):
    return {
        "completed_by": who,
        "was_cancelled": skipped,
        "updated_at": when,
        "lead_time": seconds,
        "result": [result("ab"[i], {"choices": [str(s)]}) for i, s in enumerate(scores)],
    }


def export(folder, *annotations, name="export.json"):
    """Label Studio's export: one list of annotations per task."""
    tasks = []
    for number, ((prompt, a, b), given) in enumerate(zip(ASKED, annotations, strict=True), 1):
        data = {"task": number, "prompt": prompt, "response_a": a, "response_b": b}
        data |= {"key_a": response_key(prompt, a), "key_b": response_key(prompt, b)}
        tasks.append({"id": 70 + number, "data": data, "annotations": given, "meta": {}, "drafts": []})
    (folder / name).write_text(json.dumps(tasks))
    return folder / name


def rows_of(path):
    problems = []
    rows = read_rows(str(path), {"prompt", "response", "score", "annotator"}, problems)
    assert not problems
    return {
        (row.values["prompt"], row.values["response"], row.values["annotator"]): row.values["score"]
        for row in rows
    }


def test_a_table_comes_back_with_its_texts_whatever_they_hold(tmp_path):
    filled = sheet(tmp_path, [9, 2, 8, None, 10, 0])
    report = import_files([filled], tmp_path / "labels.jsonl")
    expected = {
        (prompt, text, "ben"): score
        for (prompt, a, b), scores in zip(ASKED, ((9, 2), (8, None), (10, 0)), strict=True)
        for text, score in zip((a, b), scores, strict=True)
        if score is not None
    }
    assert rows_of(tmp_path / "labels.jsonl") == expected
    assert "5 labels of 5 responses to 3 prompts, by 1 annotator; 1 not rated" in report
    assert "not measured, there is one annotator (ben)" in report
    import_files([filled], tmp_path / "labels.csv")
    assert {k: float(v) for k, v in rows_of(tmp_path / "labels.csv").items()} == expected


def test_an_export_and_a_table_are_labels_of_the_same_responses(tmp_path):
    given = [
        [annotation(1, (8, 2)), annotation({"id": 2, "email": "x@y"}, (7, 3))],
        [annotation(1, (6, 5))],
        [],
    ]
    report = import_files(
        [export(tmp_path, *given), sheet(tmp_path, [9, 1, 7, 5, 10, 0])], tmp_path / "l.csv"
    )
    found = rows_of(tmp_path / "l.csv")
    ice, water, _ = ASKED[0]
    assert {who: found[ice, water, who] for who in ("user-1", "user-2", "ben")} == {
        "user-1": "8",
        "user-2": "7",
        "ben": "9",
    }
    assert len(found) == 12 and "x@y" not in (tmp_path / "l.csv").read_text()
    assert "12 labels of 6 responses to 3 prompts, by 3 annotators; 2 not rated" in report
    assert "on 4 responses with 10 labels" in report
    assert "user-2: 0.9" in report and "on 2 of 2 labels; mean 5.0" in report


def test_the_agreement_is_that_of_the_labels(tmp_path):
    """Two annotators, one of whom turns the scale around: alpha by hand."""
    files = [sheet(tmp_path, [10, 0, 10, 0, 10, 0], "a.csv"), sheet(tmp_path, [0, 10, 0, 10, 0, 10], "b.csv")]
    report = import_files(files, tmp_path / "l.csv")
    # Every pair within differs by 10; of all pairs 6 * 6 * 2 of 12 * 11 do: alpha = 1 - 1 / (72 / 132).
    assert f"all: {1 - 132 / 72:.2f} [" in report
    assert "below 0.667: the annotators mean different things" in report
    assert "12 labels 4 or more from the mean of the others'" in report and "and 7 more" in report


def test_what_was_skipped_or_belongs_to_another_control_is_no_label(tmp_path):
    odd = annotation(1, (4, 6))
    odd["result"] += [
        {"from_name": "comment", "type": "textarea", "value": {"text": ["fine"]}},
        {"from_name": "score_z", "type": "choices", "value": {"choices": ["1"]}},
    ]
    report = import_files(
        [export(tmp_path, [annotation(1, (9, 9), skipped=True)], [odd], [])], tmp_path / "l.jsonl"
    )
    assert sorted(rows_of(tmp_path / "l.jsonl").values()) == [4, 6]
    assert "2 labels of 2 responses to 1 prompts, by 1 annotator; 4 not rated" in report


@pytest.mark.parametrize(
    "value", [{"choices": ["7"]}, {"choices": ["7 good"]}, {"rating": 7}, {"number": 7.0}], ids=str
)
def test_other_controls_than_choices_are_read(tmp_path, value):
    given = {"completed_by": 1, "result": [result("a", value)]}
    import_files([export(tmp_path, [given], [], [])], tmp_path / "l.jsonl")
    assert list(rows_of(tmp_path / "l.jsonl").values()) == [7]


def test_of_one_annotators_labels_of_one_response_the_last_counts(tmp_path):
    twice = [annotation(1, (3, 3), "2026-11-25T12:00:00Z"), annotation(1, (8, 3), "2026-11-25T11:00:00Z")]
    report = import_files([export(tmp_path, twice, [], [])], tmp_path / "l.jsonl")
    assert list(rows_of(tmp_path / "l.jsonl").values()) == [3, 3]
    assert "duplicates (one annotator, one response; the last counts): 1 equal, 1 changed" in report
    assert "user-1 8, then 3: 'A thin film" in report
    again = sheet(tmp_path, [1, 2, 3, 4, 5, 6], "x.csv", "eva")
    later = sheet(tmp_path, [1, 2, 3, 4, 5, 7], "y.csv", "eva")
    report = import_files([again, later], tmp_path / "l.jsonl")
    assert sorted(rows_of(tmp_path / "l.jsonl").values()) == [1, 2, 3, 4, 5, 7]
    assert "5 equal, 1 changed" in report


def test_careless_annotators_are_named(tmp_path):
    many = [ASKED[0]] * 3
    fast = [[annotation(1, (5, 5), seconds=1.0)] for _ in many]
    report = import_files([export(tmp_path, *fast)], tmp_path / "l.jsonl")
    assert "user-1: 6" in report and "less than 2 seconds per response" in report
    scores = [[annotation(i, (5, 5)) for i in range(1, 3)] for _ in many]
    assert "outliers: none" in import_files([export(tmp_path, *scores)], tmp_path / "l.jsonl")


def test_one_number_for_all_is_named():
    from alma.label_import import Label, outlier_lines

    labels = [Label(f"k{i}", "p", f"r{i}", 7.0 if i < 9 else 2.0, "eva") for i in range(10)]
    assert any("eva: 7 in 9 of 10 labels" in line for line in outlier_lines(labels))
    assert outlier_lines(labels[:9]) == ["outliers: none"], "too few to say"


def test_a_text_that_a_program_changed_is_refused_or_taken_from_the_tasks(tmp_path):
    """A spreadsheet that takes a list for a formula, and one that ends its lines as Windows does."""

    def spoiled(row):
        return row | {"response": "#NAME?"} if row["response"].startswith("- ") else row

    filled = sheet(tmp_path, [1, 2, 3, 4, 5, 6], change=spoiled)
    with pytest.raises(
        InputError, match=r"ben\.csv: row 2, prompt and response: found another text, expected"
    ) as caught:
        import_files([filled], tmp_path / "l.jsonl")
    assert "--tasks" in str(caught.value) and not (tmp_path / "l.jsonl").exists()
    (tmp_path / "annotation").mkdir()
    tasks = json.loads(export(tmp_path, [], [], []).read_text())
    (tmp_path / "annotation" / "tasks.json").write_text(
        json.dumps([{"data": task["data"]} for task in tasks])
    )
    import_files([filled], tmp_path / "l.jsonl", tmp_path / "annotation")
    assert rows_of(tmp_path / "l.jsonl")[ASKED[0][0], ASKED[0][2], "ben"] == 2
    windows = sheet(
        tmp_path,
        [1, 2, 3, 4, 5, 6],
        change=lambda row: row | {"response": row["response"].replace("\n", "\r\n")},
    )
    import_files([windows], tmp_path / "l.jsonl")
    assert rows_of(tmp_path / "l.jsonl")[ASKED[0][0], ASKED[0][2], "ben"] == 2


@pytest.mark.parametrize("name", ODD_TEXTS)
@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_odd_texts_come_back_as_they_are(tmp_path, name, extension):
    """From the tasks over a filled table, or an export, into a label file and out of it."""
    text = ODD_TEXTS[name] + "\r\nand \r more"
    rated = [{"key": response_key("Why?", text), "response": text}]
    (filled,) = sheet_rows([("Why?", rated)])
    write_csv_table(tmp_path / "a.csv", "annotation", [filled | {"score": 3}])
    task = {"data": label_studio_tasks([(text, rated)])[0]["data"], "annotations": [annotation(1, (4,))]}
    (tmp_path / "e.json").write_text(json.dumps([task]))
    out = tmp_path / f"labels.{extension}"
    import_files([tmp_path / "a.csv", tmp_path / "e.json"], out)
    assert {place: float(score) for place, score in rows_of(out).items()} == {
        ("Why?", text, "a"): 3,
        (text, text, "user-1"): 4,
    }


def test_a_table_of_other_origin_needs_no_key(tmp_path):
    with (tmp_path / "own.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("prompt", "response", "score"), ("p", "r", "7.5"), ("q", "s", " ")])
    import_files([tmp_path / "own.csv"], tmp_path / "l.csv")
    assert rows_of(tmp_path / "l.csv") == {("p", "r", "own"): "7.5"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda f: sheet(f, [11, 1, 1, 1, 1, 1]),
            r"ben\.csv: row 1, score: found '11', expected a number from 0 to 10",
        ),
        (lambda f: sheet(f, [None] * 6), "found no label, expected at least one score"),
        (
            lambda f: export(f, [annotation(1, ("x", 3))], [], []),
            r"export\.json: row 1, score_a: found .* expected one rating",
        ),
        (lambda f: export(f, [annotation(1, (-1, 3))], [], []), "expected one rating from 0 to 10"),
        (lambda f: f / "export.yaml", r"found the extension '\.yaml', expected Label Studio's export"),
        (lambda f: f / "no.csv", "no such file"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        import_files([make(tmp_path)], tmp_path / "l.csv")
    assert not (tmp_path / "l.csv").exists()


def test_an_export_in_another_format_is_named(tmp_path):
    (tmp_path / "min.json").write_text(json.dumps([{"prompt": "p", "score_a": "7", "annotator": 1}]))
    with pytest.raises(InputError, match=r"missing columns: found .*, expected annotations and data"):
        import_files([tmp_path / "min.json"], tmp_path / "l.csv")


def test_the_command(tmp_path, capsys):
    filled = sheet(tmp_path, [9, 2, 8, 3, 10, 0])
    assert main([str(filled), "-o", str(tmp_path / "labels.jsonl")]) == 0
    assert "wrote" in capsys.readouterr().out
    assert main([str(filled), "-o", str(filled)]) == 1
    assert "one of the files that are read" in capsys.readouterr().err
    assert main([str(filled), "-o", str(tmp_path / "x.txt")]) == 1
    assert "expected .csv or .jsonl" in capsys.readouterr().err
