"""Groups of seed prompts: what is in one, how small ones are merged, and how evenly they are used."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alma.seed_groups import GROUPS, examples_of, group_of, group_seeds


def pool(*rows: tuple[str, str | None]) -> list[dict]:
    return [{"prompt_id": text, "prompt": text, "category": category} for text, category in rows]


ROWS = pool(
    *((f"Give {n} bullets on {topic}.", "list") for n in ("two", "three") for topic in ("tea", "rain")),
    *((f"Describe {topic} in under ten words.", "describe") for topic in ("tea", "rain", "ice")),
    ("Why is ice cold?", "explain"),
    ("Plan a day as JSON with the keys day and plan.", None),
    ("What is tea?", "explain"),
)


def sizes(by: str, fewest: int = 3) -> dict[str, int]:
    return {name: len(places) for name, places in group_seeds(ROWS, by, fewest, 0)}


def test_groups_are_what_they_are_named_after_and_small_ones_are_the_rest() -> None:
    assert sizes("none") == {"all": 10}
    assert sizes("category") == {"describe": 3, "list": 4, "rest": 3}
    assert sizes("kind") == {"bullets": 4, "words": 3, "rest": 3}
    assert sizes("kind", 2) == {"bullets": 4, "words": 3, "no constraint": 2 + 1}  # JSON joins the smallest
    assert sizes("kind", 9) == {"rest": 10}


def test_without_categories_all_seeds_are_one_group_and_the_log_says_so(capsys) -> None:
    rows = [row | {"category": None} for row in ROWS]
    assert [len(places) for _, places in group_seeds(rows, "category", 3, 0)] == [10]
    assert "prompts.group: found category, but no seed (labels.sft)" in capsys.readouterr().out


def test_clusters_hold_prompts_of_like_words_and_repeat() -> None:
    groups = group_seeds(ROWS[:7], "cluster", 3, 0)
    assert groups == group_seeds(ROWS[:7], "cluster", 3, 0)
    assert [places for _, places in groups] in ([[0, 1, 2, 3], [4, 5, 6]], [[4, 5, 6], [0, 1, 2, 3]])


@pytest.mark.parametrize("by", [name for name in GROUPS if name != "cluster"])
@given(data=st.data())
def test_each_seed_is_in_one_group_and_none_is_too_small(by, data) -> None:
    texts = data.draw(st.lists(st.sampled_from([row["prompt"] for row in ROWS]), min_size=3, max_size=9))
    rows = [row | {"prompt": text} for row, text in zip(ROWS, texts, strict=False)]
    groups = group_seeds(rows, by, 3, 0)
    assert sorted(place for _, places in groups for place in places) == list(range(len(rows)))
    assert all(len(places) >= 3 for _, places in groups)


def test_groups_are_used_in_turn_and_an_item_depends_on_its_place_alone() -> None:
    drawn = [group_of(5, 0, 1, index) for index in range(50)]
    assert all(sorted(drawn[i : i + 5]) == list(range(5)) for i in range(0, 50, 5))
    assert len(set(map(tuple, (drawn[i : i + 5] for i in range(0, 50, 5))))) > 5
    groups = group_seeds(ROWS, "kind", 3, 0)
    found = [examples_of(groups, (3, 4), 0, 1, index) for index in range(30)]
    for examples in found:
        assert any(set(examples) <= set(places) for _, places in groups)
    assert Counter(len(examples) for examples in found)[3] > 5
    assert found[17] == examples_of(groups, (3, 4), 0, 1, 17)
