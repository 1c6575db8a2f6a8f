"""What people are asked to rate: the choice of responses, the files, and the target that makes them."""

import json
import xml.etree.ElementTree as ElementTree

import annotation_prompts
import choose_annotation
import pytest
from fast_run import FastRun, merged
from hypothesis import given
from hypothesis import strategies as st

from alma import annotation
from alma.annotation import SCALE, informative, order_doubt, response_key, too_alike
from alma.csv_tables import read_csv_table, write_csv_table
from alma.errors import InputError
from alma.ids import content_id
from alma.judging import RUBRIC
from alma.label_import import import_files
from alma.tables import read_table, user, write_table


def at(rating, width=0.0):
    """A distribution over the ratings: all at one, or a share spread over all."""
    return [(1 - width) * (k == rating) + width / 11 for k in range(11)]


def response(name, text, p, **changes):
    score = sum(k * value for k, value in enumerate(p))
    return {"key": name, "response": text, "p": p, "score": score, "finish_reason": "stop"} | changes


TEXTS = [
    "The tide follows the moon, which pulls at the sea.",
    "Nobody knows why waves are salty on a Tuesday.",
    "Boil rice with twice as much water for ten minutes.",
    "A library lends books, and some lend tools as well.",
]


# the rule


def test_the_scale_is_that_of_the_judge():
    assert sorted(SCALE) == list(range(11))
    assert all(f"{number} {words}" in RUBRIC for number, words in SCALE.items())
    assert (SCALE[0], SCALE[5], SCALE[10]) == ("unusable", "average", "outstanding")


def test_doubt_by_hand():
    assert order_doubt(at(3), at(7)) == 0, "sure of an order"
    assert order_doubt(at(5), at(5)) == 0, "sure of a tie"
    half = [0.5 if k in (2, 8) else 0.0 for k in range(11)]
    assert order_doubt(half, at(5)) == 0.5
    assert order_doubt(half, half) == 0.25
    assert order_doubt(half, at(8)) == 0, "never better than 8"


@given(*[st.lists(st.integers(0, 5), min_size=11, max_size=11).filter(any)] * 2)
def test_doubt_is_the_less_likely_order(one, other):
    a, b = ([w / sum(weights) for w in weights] for weights in (one, other))
    above = sum(a[i] * b[j] for i in range(11) for j in range(11) if i > j)
    below = sum(a[i] * b[j] for i in range(11) for j in range(11) if i < j)
    assert order_doubt(a, b) == pytest.approx(min(above, below))


def test_each_rule_chooses_what_it_says():
    rows = [
        response(str(i), text, at(r, w))
        for i, (text, r, w) in enumerate(zip(TEXTS, (0, 4, 5, 10), (0.1, 0.9, 0.9, 0.1), strict=True))
    ]
    names = lambda choose: {row["key"] for row in informative(rows, 2, choose, 0)[1]}  # noqa: E731
    assert names("uncertain") == {"1", "2"}
    assert names("spread") == {"0", "3"}
    assert (
        len(
            {
                frozenset(informative(rows, 2, "random", seed)[1][i]["key"] for i in (0, 1))
                for seed in range(40)
            }
        )
        == 6
    )
    worth, three = informative(rows, 3, "spread", 0)
    assert {"0", "3"} < {row["key"] for row in three} and worth == pytest.approx(2 / 3 * 9, abs=0.5)
    assert informative(list(reversed(rows)), 2, "uncertain", 0) == informative(rows, 2, "uncertain", 0)


def test_responses_that_people_could_not_tell_apart_are_not_compared():
    almost = TEXTS[0] + " Indeed."
    assert too_alike(TEXTS[0], almost) and not too_alike(*TEXTS[:2])
    rows = [response("a", TEXTS[0], at(5, 1)), response("b", almost, at(5, 1))]
    assert informative(rows, 2, "uncertain", 0) is None
    chosen = informative([*rows, response("c", TEXTS[1], at(9))], 2, "uncertain", 0)[1]
    assert "c" in {row["key"] for row in chosen}
    assert informative([*rows, response("c", TEXTS[1], at(9))], 3, "uncertain", 0) is None


# the tables of a run


def sampled(prompt, checkpoint, sample, text, p, reason="stop"):
    prompt_id = content_id("prompt", prompt)
    return {
        "prompt_id": prompt_id,
        "response_id": content_id(prompt_id, checkpoint, sample),
        "checkpoint": checkpoint,
        "sample": sample,
        "seed": 1,
        "response": text,
        "finish_reason": reason,
        "tokens": 9,
        "p": p,
    }


def write_run(folder, prompts, rows, labels=()):
    """Tables of an annotation with these sampled rows; returns the arguments of `choose_annotation.main`."""
    write_table(
        folder / "prompts.parquet",
        "seed_prompt",
        [{"prompt_id": content_id("prompt", p), "prompt": p} for p in prompts],
    )
    responses = [{k: v for k, v in row.items() if k != "p"} for row in rows]
    scores = [
        {
            "response_id": row["response_id"],
            "prompt_id": row["prompt_id"],
            "score": row["p"] and sum(k * value for k, value in enumerate(row["p"])),
            "mass": 1.0 if row["p"] else 0.0,
            "p": row["p"] or [0.0] * 11,
        }
        for row in rows
    ]
    write_table(folder / "samples.parquet", "response", responses)
    write_table(folder / "scores.parquet", "score", scores)
    judged = [
        {"prompt_id": "x", "response_id": "y", "annotator": 0, "prompt": p, "response": r, "score": 5.0}
        for p, r in labels
    ]
    write_table(folder / "judge.parquet", "judge", judged)
    names = ("tasks.json", "label_studio.xml", "tasks.csv", "instructions.html", "key.parquet")
    inputs = [
        folder / "prompts.parquet",
        [folder / "samples.parquet"],
        [folder / "scores.parquet"],
        [folder / "judge.parquet"],
    ]
    return [*inputs, *(folder / name for name in names)]


PROMPTS = [
    "Why do tides come and go?",
    "How do I <b>boil</b> rice & beans?",
    "What does a library lend, so to say?",
]
RULE = {"seed": 0, "prompts": 10, "responses": 2, "choose": "uncertain"}


def some_rows():
    return [
        sampled(prompt, ("sft-0", "round-2")[i % 2], i, text, at(3 + i, 0.5))
        for prompt in PROMPTS
        for i, text in enumerate(TEXTS)
    ]


def test_the_files_hold_the_same_and_hide_the_model(tmp_path):
    choose_annotation.main(*write_run(tmp_path, PROMPTS, some_rows()), **RULE)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    sheet = read_csv_table(tmp_path / "tasks.csv", "annotation")
    key = read_table(tmp_path / "key.parquet", "annotation_key")
    assert len(tasks) == 3 and len(sheet) == len(key) == 6
    flat = [
        (
            task["data"]["task"],
            letter.upper(),
            task["data"]["prompt"],
            task["data"][f"response_{letter}"],
            task["data"][f"key_{letter}"],
        )
        for task in tasks
        for letter in "ab"
    ]
    assert flat == [(row["task"], row["letter"], row["prompt"], row["response"], row["key"]) for row in sheet]
    assert [(row["task"], row["letter"], row["key"]) for row in key] == [
        (row["task"], row["letter"], row["key"]) for row in sheet
    ]
    assert all(row["score"] is None and row["annotator"] == "" for row in sheet)
    assert all(row["key"] == response_key(row["prompt"], row["response"]) for row in sheet)
    assert {row["prompt"] for row in sheet} == set(PROMPTS), "as they are written"
    for name in ("tasks.json", "label_studio.xml", "tasks.csv", "instructions.html"):
        text = (tmp_path / name).read_text()
        assert "sft-0" not in text and "round-2" not in text, name
    assert {row["checkpoint"] for row in key} == {"sft-0", "round-2"}


def test_the_order_is_seeded_and_follows_neither_checkpoint_nor_score(tmp_path):
    firsts = []
    for seed in range(12):
        choose_annotation.main(
            *write_run(tmp_path, PROMPTS, some_rows()), **(RULE | {"seed": seed, "choose": "spread"})
        )
        key = read_table(tmp_path / "key.parquet", "annotation_key")
        firsts += [row["score"] > 5 for row in key if row["letter"] == "A"]
    assert 0.2 < sum(firsts) / len(firsts) < 0.8


def test_the_prompts_that_tell_most_are_asked_for(tmp_path):
    rows = [
        sampled(prompt, "sft-0", i, text, at(5, width))
        for prompt, width in zip(PROMPTS, (0.1, 0.9, 0.5), strict=True)
        for i, text in enumerate(TEXTS[:2])
    ]
    choose_annotation.main(*write_run(tmp_path, PROMPTS, rows), **(RULE | {"prompts": 1}))
    assert {row["prompt"] for row in read_csv_table(tmp_path / "tasks.csv", "annotation")} == {PROMPTS[1]}


def test_nothing_that_is_useless_or_labeled_is_asked_for(tmp_path):
    bad = [
        sampled(PROMPTS[0], "sft-0", 4, "cut off in the middle of a", at(5, 1), "length"),
        sampled(PROMPTS[0], "sft-0", 5, "...", at(5, 1)),
        sampled(PROMPTS[0], "sft-0", 6, PROMPTS[0], at(5, 1)),
        sampled(PROMPTS[0], "sft-0", 7, "no score was read for this one", None),
        sampled(PROMPTS[0], "sft-0", 8, TEXTS[0].upper(), at(5, 1)),
    ]
    good = [row for row in some_rows() if row["prompt_id"] == content_id("prompt", PROMPTS[0])]
    arguments = write_run(tmp_path, PROMPTS[:1], good + bad, labels=[(PROMPTS[0], TEXTS[2])])
    choose_annotation.main(*arguments, **(RULE | {"responses": 3}))
    asked = {row["response"] for row in read_csv_table(tmp_path / "tasks.csv", "annotation")}
    assert {text.casefold() for text in asked} == {TEXTS[i].casefold() for i in (0, 1, 3)}
    with pytest.raises(InputError, match="none of 1 prompts has 4 responses that are finished"):
        choose_annotation.main(*arguments, **(RULE | {"responses": 4}))


def test_the_interface_asks_for_every_rating_of_every_response():
    root = ElementTree.fromstring(annotation.label_studio_config(3))
    names = {node.get("name"): node.get("value") for node in root.iter("Text")}
    assert names == {"prompt": "$prompt"} | {f"response_{c}": f"$response_{c}" for c in "abc"}
    for letter in "abc":
        (choices,) = [node for node in root.iter("Choices") if node.get("name") == f"score_{letter}"]
        assert choices.get("toName") == f"response_{letter}" and choices.get("required") == "true"
        found = {node.get("alias"): node.get("value") for node in choices.iter("Choice")}
        assert found == {str(number): f"{number} {words}" for number, words in SCALE.items()}


def test_the_instructions_are_well_formed_and_define_the_scale():
    root = ElementTree.fromstring(f"<div>{annotation.instructions(100, 2)}</div>")
    cells = [cell.text for cell in root.iter("td")]
    assert dict(zip(map(int, cells[::2]), cells[1::2], strict=True)) == SCALE


# the prompts


def test_new_prompts_come_from_all_clusters_and_not_from_the_judges_own_training(tmp_path):
    texts = {f"i{n}": f"text {n}" for n in range(20)}
    kept = [
        {"prompt_id": i, "prompt": text, "source": "synthetic", "examples": [], "checks": "[]"}
        for i, text in texts.items()
    ]
    for shard in (0, 1):
        write_table(tmp_path / f"unique{shard}.parquet", "prompt", kept[shard::2])
    deal = [{"round": 2 + n // 8, "place": n % 8, "cluster": n % 8, "prompt_id": f"i{n}"} for n in range(16)]
    write_table(tmp_path / "deal.parquet", "deal", deal)
    files = [str(tmp_path / f"{name}.parquet") for name in ("unique0", "unique1", "deal")]
    found = list(annotation_prompts.prompts_of("new", files, 0, 3))
    assert set(found[:5]) == {f"i{n}" for n in range(3, 8)}, "one per cluster, without the first places"
    assert set(found[5:]) == {f"i{n}" for n in range(8, 16)}
    assert found != list(annotation_prompts.prompts_of("new", files, 1, 3))
    assert annotation_prompts.prompts_of("new", files, 0, 3)["i9"] == "text 9"


def test_prompts_of_labels(tmp_path):
    rows = [
        {
            "prompt_id": f"p{n}",
            "response_id": str(n),
            "annotator": 0,
            "prompt": f"ask {n}",
            "response": "r",
            "score": 1.0,
        }
        for n in range(4)
    ]
    write_table(tmp_path / "judge.parquet", "judge", rows)
    assert annotation_prompts.prompts_of("judge", [str(tmp_path / "judge.parquet")], 0, 0).keys() == {
        "p0",
        "p1",
        "p2",
        "p3",
    }
    turns = [user("one"), [*user("two"), {"role": "assistant", "content": "x"}, *user("three")]]
    sft = [{"prompt_id": "q", "prompt": turn, "completion": [], "category": None} for turn in turns]
    write_table(tmp_path / "sft.parquet", "sft", sft)
    assert list(annotation_prompts.prompts_of("sft", [str(tmp_path / "sft.parquet")], 0, 0).values()) == [
        "one"
    ]


# the target


@pytest.mark.slow
def test_the_loop_through_the_workflow(tmp_path):
    """Choose, rate, import, choose again: the judge is new, and what has a label is not asked for again."""
    run = FastRun.make(tmp_path / "run")
    asked = {"pool": 6, "samples": 4, "prompts": 2, "checkpoints": ["sft-0"]}
    run.config = merged(run.config, {"annotation": asked})
    run.finish("annotate")
    sheet = read_csv_table(run.path("annotation/tasks.csv"), "annotation")
    assert len(sheet) == 4 and len(json.loads(run.path("annotation/tasks.json").read_text())) == 2
    assert not run.path("models/round-2").exists(), "no more than was needed"

    filled = [row | {"score": 9 - 2 * i, "annotator": "ann"} for i, row in enumerate(sheet)]
    write_csv_table(tmp_path / "ann.csv", "annotation", filled)
    import_files([tmp_path / "ann.csv"], run.folder / "data" / "annotations.csv")
    run.config = merged(run.config, {"labels": {"annotations": ["data/annotations.csv"]}})
    _, ran, _ = run.update("annotate")
    assert {job.split("/", 1)[1] for job in ran} == {
        *("read_seeds", "check_lengths", "train_judge_seed", "score_distillation", "train_judge"),
        *("score_annotation/sft-0", "choose_annotation"),
    }
    labels = [
        row
        for name in ("judge", "judge_heldout")
        for row in read_table(run.path(f"seeds/{name}.parquet"), "judge")
        if row["prompt"] in {row["prompt"] for row in sheet}
    ]
    assert sorted(row["score"] for row in labels) == [3, 5, 7, 9]
    again = read_csv_table(run.path("annotation/tasks.csv"), "annotation")
    assert not {row["key"] for row in again} & {row["key"] for row in sheet}
