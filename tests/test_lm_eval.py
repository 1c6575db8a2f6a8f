"""lm-eval itself, in the environment that `make test-services` makes for it (envs/lm_eval.sh)."""

import json

import probe_lm_eval
import pytest
import run_harness

from alma.errors import InputError
from alma.harness import read_values
from alma.ifeval import graded
from alma.lm_eval import PLACE

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """The environment of the Makefile, and a model of sentences that was trained on nothing."""
    if not PLACE.is_file():
        pytest.skip("lm-eval's environment is not made (make test-services)")
    folder = tmp_path / "nltk" / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (folder / name).write_text("")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    monkeypatch.delenv("ALMA_LM_EVAL", raising=False)


def doc(prompt, **instructions):
    """A document; an instruction's name has __ for the colon."""
    ids = [name.replace("__", ":") for name in instructions]
    return {
        "key": prompt,
        "prompt": prompt,
        "instruction_id_list": ids,
        "kwargs": list(instructions.values()),
    }


# The arguments of a row from the hub: all names that any instruction has, most of them empty.
THREE = {"num_sentences": 3, "relation": "at least", "language": None, "keywords": None}
CASES = [
    (doc("a", punctuation__no_comma={}), "Hello, world", [False], [False]),
    (doc("b", change_case__english_lowercase={}), "this is written in small letters only", [True], [True]),
    (doc("c", length_constraints__number_sentences=THREE), "One here. Two there! Three?", [True], [True]),
    (doc("d", length_constraints__number_sentences=THREE), "One here. Two there.", [False], [False]),
    (doc("e", startend__quotation={}), 'Sure:\n"A text."', [False], [True]),  # loose: without the first line
    (
        doc("f", language__response_language={"language": "de"}),
        "Das ist ein kurzer Satz.",
        [True],
        [True],
    ),
    (
        doc("g", punctuation__no_comma={}, detectable_format__title={}),
        "<<T>> a",
        [True, True],
        [True, True],
    ),
    (doc("h", punctuation__no_comma={}), " ", [False], [False]),
]


def test_its_checkers_grade_responses():
    found, versions = graded([(d["key"], d, text) for d, text, _, _ in CASES], 0)
    assert [(f["strict"], f["loose"]) for f in found] == [(strict, loose) for _, _, strict, loose in CASES]
    assert versions["lm_eval"].startswith("0.4.")


def test_what_it_leaves_to_chance_hangs_on_seed_and_prompt():
    """A document without its number of sentences, and a text of two languages."""
    drawn = doc("x", length_constraints__number_sentences={}, language__response_language={"language": "fr"})
    text = "One. Two. Three. Four. Five. Six. Sept. Huit. Il fait beau. Neuf. It rains."
    rows = [(f"p{i}", drawn, text) for i in range(12)]
    first, _ = graded(rows, 0)
    again, _ = graded(rows[::-1], 0)
    assert first == again[::-1] and len({found["strict"][0] for found in first}) == 2


def test_the_probe_says_what_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "ifeval.jsonl"
    path.write_text('{"key": 1, "prompt": "p", "instruction_id_list": ["no:such"], "kwargs": [{}]}')
    with pytest.raises(InputError, match="found the instructions no:such, which lm-eval 0"):
        probe_lm_eval.main(tmp_path / "out", ifeval={"if": str(path)})
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    with pytest.raises(InputError, match="found no tokenizers/punkt_tab/english in NLTK's data"):
        probe_lm_eval.main(tmp_path / "out", ifeval={"if": str(path)})


TASK = """task: local_facts
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
"""


def test_a_task_of_ones_own_is_run_on_a_checkpoint(tmp_path, tiny_checkpoint):
    """The tiny model guesses: either answer of the four items is as good as the other."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "facts.yaml").write_text(TASK.format(data=tmp_path / "facts.jsonl"))
    rows = [{"question": f"{n} and {n}?", "choices": [str(2 * n), "no"], "answer": 0} for n in range(4)]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"tasks": ["local_facts"], "include_path": str(folder)}
    probe_lm_eval.main(tmp_path / "checked.txt", ifeval={}, **asked)
    assert "evaluation.harness.tasks: local_facts can be loaded" in (tmp_path / "checked.txt").read_text()
    out = tmp_path / "items.parquet"
    more = {"seed": 0, "device": "auto", "shots": None, "limit": 3, "batch_size": 2, "chat": False}
    run_harness.main(tiny_checkpoint, out, **asked, **more)
    (values,) = read_values(out).values()
    assert list(values) == [0, 1, 2] and set(values.values()) <= {0.0, 1.0}
    with pytest.raises(InputError, match=r"harness\.tasks: LookupError: found no_such, expected names"):
        probe_lm_eval.main(tmp_path / "no.txt", ifeval={}, tasks=["no_such"], include_path=str(folder))
