"""The terminal annotator: what it shows, what it takes, where it goes on, and the way to labels."""

import pytest

from alma.annotation import response_key
from alma.annotator import annotate, main, visible
from alma.csv_tables import read_csv_table, write_csv_table
from alma.errors import InputError
from alma.label_import import import_files

ASKED = [
    ("Why is ice slippery?", "A thin film of water.", "It is \x1b[31mcold\x1b[0m."),
    ("Add two and two.", "Four.", "Five."),
    ("Name a color.", "Teal.", "- one\n- two"),
]


@pytest.fixture
def tasks(tmp_path):
    rows = [
        {
            "task": task,
            "letter": letter,
            "prompt": prompt,
            "response": text,
            "score": None,
            "annotator": "",
            "key": response_key(prompt, text),
        }
        for task, (prompt, *texts) in enumerate(ASKED, 1)
        for letter, text in zip("AB", texts, strict=True)
    ]
    (tmp_path / "annotation").mkdir()
    write_csv_table(tmp_path / "annotation" / "tasks.csv", "annotation", rows)
    return tmp_path / "annotation"


def rate(tasks, output, *answers, name="ben"):
    """Give these answers, then end the input; returns (prompts left, all that was shown, questions)."""
    shown, questions, waiting = [], [], list(answers)

    def read(question):
        questions.append(question)
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    left = annotate(tasks, output, name, read, shown.append)
    assert not waiting
    return left, "\n".join(shown), questions


def scores(output):
    return [(row["score"], row["annotator"]) for row in read_csv_table(output, "annotation")]


def test_ratings_are_kept_and_it_goes_on_where_it_ended(tasks, tmp_path):
    output = tmp_path / "ben.csv"
    left, shown, questions = rate(tasks, output, "9", "2", "8")
    assert left == 2 and questions[:3] == ["A [0-10 s b ? q]: ", "B [0-10 s b ? q]: ", "A [0-10 s b ? q]: "]
    assert "prompt 1 of 3" in shown and "1 of 3 prompts are rated, in" in shown
    assert scores(output) == [(9, "ben"), (2, "ben"), *[(None, "")] * 4], "half a prompt is no rating"
    left, shown, _ = rate(tasks, output, "10", "0", "3", " 3 ", name="eva")
    assert left == 0 and "prompt 1 of 3" not in shown and "3 prompts, 1 are rated" in shown
    assert scores(output)[2:] == [(10, "eva"), (0, "eva"), (3, "eva"), (3, "eva")]
    assert rate(tasks, output)[0] == 0
    assert all(score == (None, "") for score in scores(tasks / "tasks.csv")), "the tasks stay as they are"
    import_files([output], tmp_path / "labels.jsonl")
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 6


def test_skip_back_help_quit_and_nonsense(tasks, tmp_path):
    output = tmp_path / "ben.csv"
    left, shown, _ = rate(
        tasks, output, "s", "5", "6", "b", "b", "b", "1", "11", "-1", "", "1.5", "?", "2", "q"
    )
    assert left == 1
    assert scores(output)[:4] == [(1, "ben"), (2, "ben"), (5, "ben"), (6, "ben")]
    assert "found '11', expected a number from 0 to 10" in shown and "found '1.5'" in shown
    assert "10 outstanding" in shown


def test_control_characters_are_shown_and_not_obeyed(tasks, tmp_path):
    _, shown, _ = rate(tasks, tmp_path / "ben.csv", "q")
    assert "\x1b" not in shown and "\\x1b[31mcold" in shown
    assert visible("a\nb\t‮") == "a\nb\\t\\u202e"


def test_what_cannot_be_used_is_named(tasks, tmp_path, capsys):
    with pytest.raises(InputError, match="the tasks themselves"):
        rate(tasks, tasks / "tasks.csv")
    with pytest.raises(InputError, match=r"no such file, expected tasks\.csv"):
        rate(tmp_path / "none", tmp_path / "ben.csv")
    rows = read_csv_table(tasks / "tasks.csv", "annotation")
    write_csv_table(tmp_path / "other.csv", "annotation", rows[:2])
    with pytest.raises(InputError, match="scores of other responses"):
        rate(tasks, tmp_path / "other.csv")
    assert main([str(tasks), str(tmp_path / "x.txt")]) == 1
    assert "expected .csv" in capsys.readouterr().err
