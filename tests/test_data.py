"""The shipped data: what data/README.md says of it is true."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import read_seeds

from alma.checks import run_checks, validate_checks
from alma.duplicates import OverlapIndex, folded, grams_of
from alma.stated import stated_checks
from alma.tables import read_table

DATA = Path(__file__).parent.parent / "data"
ROWS = {
    name: [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ("sft", "judge", "eval", "hard")
}
CARD = (DATA / "README.md").read_text(encoding="utf-8")
KINDS = ("bullets", "numbered", "sentences", "words", "json", "ends_with")
# Rows of a prompt of the judge: so many, half of which pass.
GROUPS = {row["prompt"]: [r for r in ROWS["judge"] if r["prompt"] == row["prompt"]] for row in ROWS["judge"]}
SEEDS = [row["prompt"] for row in ROWS["sft"]] + list(GROUPS)

# What the evaluation is about and the seeds are not, as the words that name it.
TOPICS = {
    "astronomy": r"astronom\w*|stars?|planets?|moon",
    "pets": r"pets?|dogs?|cats?",
    "bicycles": r"bicycles?|bikes?|cycling",
    "coffee": "coffee",
    "tea": "teas?",
    "libraries": r"librar\w*",
    "books": r"(note)?books?",
    "weather": r"weather|rain\w*",
    "gardening": r"garden\w*",
    "theaters": "theaters?",
    "dancing": r"danc\w+",
    "fishing": r"fish\w*",
    "sewing": r"sew\w*",
    "skiing": r"ski\w*ing|skis?",
    "snow": r"snow\w*",
    "volcanoes": r"volcano\w*",
    "puzzles": "puzzles?",
    "bees": "bees?|honey",
} | {
    name: rf"{name.removesuffix('s')}s?"
    for name in (
        *("chess", "trains", "birthdays", "museums", "islands", "bridges", "castles", "ice cream", "kites"),
        *("lamps", "maps", "newspapers", "owls", "paper planes", "radios", "robots", "ships", "songs"),
        *("stamps", "statues", "tents", "toys", "umbrellas", "windmills", "winter", "yoga", "zoos"),
    )
}
OF_A_TOPIC = re.compile(rf"\b({'|'.join(TOPICS.values())})\b", re.IGNORECASE)


def kind(row):
    """The kind of the only check of a row."""
    (check,) = row["checks"]
    return check["kind"]


def passes(row):
    """Whether a judged response passes its checks."""
    return all(run_checks(row["checks"], row["response"]))


def test_the_files_read_cleanly_and_to_the_counts(tmp_path):
    paths = [tmp_path / f"{i}.parquet" for i in range(7)]
    read_seeds.main(
        *paths,
        seed=0,
        sft=str(DATA / "sft.jsonl"),
        judge=str(DATA / "judge.jsonl"),
        scale=[0, 10],
        heldout_fraction=0.2,
        max_bad_rows=0,
        judge_benchmark=None,
        benchmarks={"everyday": str(DATA / "eval.jsonl"), "hard": str(DATA / "hard.jsonl")},
    )
    tables = ("sft", "judge", "judge", "judge_pair", "eval", "turns", "seed_prompt")
    read = [read_table(p, k) for p, k in zip(paths, tables, strict=True)]
    sft, judge, heldout, pairs, prompts, turns, own = read
    assert turns == []
    assert len(sft) == len(ROWS["sft"]) and len(pairs) == 0
    assert len(judge) + len(heldout) == len(ROWS["judge"])
    assert len({row["prompt"] for row in heldout}) == round(0.2 * len(GROUPS))
    assert {row["prompt"] for row in own} == {row["prompt"] for row in (*judge, *heldout)}
    assert Counter(row["benchmark"] for row in prompts) == {
        "everyday": len(ROWS["eval"]),
        "hard": len(ROWS["hard"]),
    }
    assert {row["annotator"] for row in (*judge, *heldout)} == {0}


@pytest.mark.parametrize("name", ROWS)
def test_the_card_states_the_counts(name):
    assert f"| `{name}.jsonl` | {len(ROWS[name])} |" in CARD


@pytest.mark.parametrize("name", KINDS)
def test_the_card_states_the_rows_of_a_kind(name):
    sft, judge, prompts = (Counter(map(kind, ROWS[file]))[name] for file in ("sft", "judge", "eval"))
    judged = sum(kind(rows[0]) == name for rows in GROUPS.values())
    assert f"| `{name}` | {sft} | {judged} | {judge} | {prompts} |" in CARD


def test_the_card_states_the_other_numbers():
    sizes = sorted({len(rows) for rows in GROUPS.values()})
    stated = f"({len(GROUPS)} prompts with {', '.join(map(str, sizes[:-1]))} or {sizes[-1]} responses each)"
    assert stated in CARD
    assert f"checks on {sum('checks' in row for row in ROWS['hard'])} of them" in CARD
    scores = Counter(row["score"] for row in ROWS["judge"])
    assert f"| rows | {' | '.join(str(scores[score]) for score in range(11))} |" in CARD
    categories = {row["category"] for rows in ROWS.values() for row in rows}
    assert all(f"`{category}`" in CARD for category in categories)
    kinds = {check["kind"] for rows in ROWS.values() for row in rows for check in row.get("checks", [])}
    assert all(f"| `{kind}` |" in CARD for kind in kinds)


def test_there_are_enough_rows():
    assert len(ROWS["sft"]) >= 60
    assert len(ROWS["judge"]) >= 500
    assert len({row["prompt"] for row in ROWS["eval"]}) >= 400


@pytest.mark.parametrize("name", ["sft", "judge", "eval"])
def test_a_prompt_states_one_constraint_of_six_kinds(name):
    counts = Counter(map(kind, {row["prompt"]: row for row in ROWS[name]}.values()))
    assert set(counts) == set(KINDS)
    assert max(counts.values()) <= 1.5 * min(counts.values()), "each kind is common"
    other = [
        row["prompt"]
        for row in ROWS[name]
        if (read := stated_checks(row["prompt"])) and read != row["checks"]  # some wordings are not read
    ]
    assert not other


@pytest.mark.parametrize("name", ["sft", "judge", "eval"])
def test_no_wording_of_a_constraint_dominates_its_kind(name):
    prompts = {row["prompt"]: kind(row) for row in ROWS[name]}
    total = Counter(prompts.values())
    shared = Counter((kind, gram) for prompt, kind in prompts.items() for gram in grams_of(prompt))
    assert {key: n / total[key[0]] for key, n in shared.items() if n > 0.4 * total[key[0]]} == {}


def test_the_hard_benchmark_is_of_other_kinds():
    for row in ROWS["hard"]:
        kinds = {check["kind"] for check in row.get("checks", [])}
        assert not kinds or kinds - set(KINDS), row["prompt"]


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_carry_valid_checks(name):
    for row in ROWS[name]:
        assert validate_checks(row.get("checks", [])) == []
    assert sum(bool(row.get("checks")) for row in ROWS[name]) * 10 >= 9 * len(ROWS[name])


@pytest.mark.parametrize(
    ("name", "column"), [("sft", "response"), ("eval", "reference"), ("hard", "reference")]
)
def test_shown_answers_pass_their_own_checks(name, column):
    for row in ROWS[name]:
        verdicts = run_checks(row.get("checks", []), row[column])
        assert all(verdicts), (row["prompt"], row[column], verdicts)


def test_the_check_decides_the_half_of_the_scale():
    for row in ROWS["judge"]:
        assert type(row["score"]) is int
        assert row["score"] in (range(5, 11) if passes(row) else range(5)), row


def test_as_many_responses_to_a_prompt_pass_as_fail():
    for prompt, rows in GROUPS.items():
        assert 2 * sum(map(passes, rows)) == len(rows) <= 6, prompt
        assert len({row["response"] for row in rows}) == len(rows), prompt
        assert all(
            (row["checks"], row["category"]) == (rows[0]["checks"], rows[0]["category"]) for row in rows
        )


@pytest.mark.parametrize("name", ["eval", "hard"])
def test_no_evaluation_prompt_is_in_the_seeds_or_close_to_one(name):
    plain = set(map(folded, SEEDS))
    index = OverlapIndex(SEEDS)
    for row in ROWS[name]:
        assert folded(row["prompt"]) not in plain
        near = index.overlapping(row["prompt"], 0.5)  # the default of prompts.overlap
        assert not near, (row["prompt"], [SEEDS[number] for number in near])


def test_topics_are_kept_apart():
    for text in SEEDS + [row["response"] for row in ROWS["sft"]]:
        assert not OF_A_TOPIC.search(text), text
    found = [row["prompt"] for row in ROWS["eval"] if OF_A_TOPIC.search(row["prompt"])]
    assert len(found) >= 7 / 8 * len(ROWS["eval"])
    listed = re.sub(r"\s+", " ", CARD[CARD.index("never name:") :])
    assert all(re.search(rf"[ ,]{topic}[,. ]", listed) for topic in TOPICS)


def test_the_license_is_cc0():
    assert "CC0 1.0 Universal" in (DATA / "LICENSE").read_text(encoding="utf-8")
    assert "[CC0 1.0 Universal](LICENSE)" in CARD
