"""Groups of seed prompts: the few-shot examples of one new prompt come from one of them.

A base model that sees examples of one kind goes on in that kind; a mixture leaves it to guess what the
examples have in common. The groups are used in turn, so that a rare kind is asked for as often as a
common one.
"""

import math
from collections import defaultdict
from typing import Any

from alma.fewshot import choose_examples
from alma.ids import hashed_int
from alma.stated import stated_checks

GROUPS = ("none", "category", "kind", "cluster")


def _kinds(text: str) -> str:
    """Name of the group of a prompt by the kinds of constraints that it states."""
    return "+".join(sorted({check["kind"] for check in stated_checks(text)})) or "no constraint"


def _clusters(texts: list[str], seed: int) -> list[str]:
    """Names of k-means clusters of TF-IDF vectors of the words; sqrt(n / 2) clusters, a rule of thumb."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = max(1, round(math.sqrt(len(texts) / 2)))
    # Words of one letter and digits too: "in 3 words" and "in 2 sentences" are alike by their form.
    vectors = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit_transform(texts)
    labels = KMeans(count, n_init=10, random_state=hashed_int("seed clusters", seed) % 2**32).fit_predict(
        vectors
    )
    return [f"cluster {label}" for label in labels]


def group_seeds(pool: list[dict[str, Any]], by: str, fewest: int, seed: int) -> list[tuple[str, list[int]]]:
    """Groups of the seed prompts, as (name, indices in `pool`), sorted by name.

    Args:
        pool: rows with `prompt` (text) and `category` (text or None), at least `fewest`.
        by: "none" (one group), "category" (of the labels; all are one group where no row has one), "kind" (of
            the constraints that a prompt states; those that state none are one group) or "cluster" (k-means).
        fewest: smallest size of a group. Smaller ones become one, named "rest"; where that is too small as
            well, it joins the smallest of the others.
        seed: of the clusters.
    """
    texts = [row["prompt"] for row in pool]
    if by == "category" and not any(row["category"] for row in pool):
        print(
            "prompts.group: found category, but no seed (labels.sft) has a text in a column of that name; "
            "the examples are drawn from all seeds, as with none"
        )
        by = "none"
    if by == "category":
        names = [row["category"] or "no category" for row in pool]
    elif by == "kind":
        names = [_kinds(text) for text in texts]
    elif by == "cluster":
        names = _clusters(texts, seed)
    else:
        names = ["all"] * len(pool)
    members: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        members[name].append(place)
    groups = {name: places for name, places in members.items() if len(places) >= fewest}
    rest = sorted(place for name, places in members.items() if name not in groups for place in places)
    if rest and (len(rest) >= fewest or not groups):
        groups["rest"] = rest
    elif rest:
        smallest = min(groups, key=lambda name: (len(groups[name]), name))
        groups[smallest] = sorted(groups[smallest] + rest)
    return sorted(groups.items())


def group_of(count: int, seed: int, shard: int, index: int) -> int:
    """Which of `count` groups item `index` of a shard takes: all in turn, in an order that is drawn anew.

    It depends on the arguments alone, and every `count` items in a row take every group once.
    """
    turn, place = divmod(index, count)
    order = sorted(range(count), key=lambda group: hashed_int("few-shot group", seed, shard, turn, group))
    return order[place]


def examples_of(
    groups: list[tuple[str, list[int]]], bounds: tuple[int, int], seed: int, shard: int, index: int
) -> list[int]:
    """Indices of the examples of item `index` of a shard, all of one group, in context order."""
    members = groups[group_of(len(groups), seed, shard, index)][1]
    return [members[i] for i in choose_examples(len(members), bounds, seed, shard, index)]
