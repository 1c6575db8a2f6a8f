"""Which runs of a config are compared: the rows of each table, controls, and replicates."""

from collections.abc import Iterator
from typing import Any

from alma.errors import fail_with, shorten

# Keys of a variant that say how it stands to the others, and nothing of what it does.
RELATIONS = ("inherits", "table", "control_of")
# Keys whose values alone tell two replicates apart.
SEEDS = (("seed",), ("training", "seed"), ("judge", "seed"), ("sampling", "seed"))
SELECTION = ("training", "selection")
_NOTHING = object()


def ablation_tables(config: dict[str, Any]) -> dict[str, list[str]]:
    """Variants by the tables that they are rows of, tables in the order in which the config first names them.

    `table` of a variant holds one name or several. A control without it is a row of every table that has the
    run which it is a control of; the main run is in all of them.
    """
    found: dict[str, list[str]] = {}
    everywhere = []
    for name, values in config["runs"].items():
        named = values.get("table")
        if named is None and "control_of" in values:
            everywhere.append(name)
        for table in [named] if isinstance(named, str) else named or []:
            found.setdefault(table, []).append(name)
    for name in everywhere:
        of = config["runs"][name]["control_of"]
        for variants in found.values():
            if of == config["run"] or of in variants:
                variants.append(name)
    return found


def controls(config: dict[str, Any]) -> dict[str, str]:
    """{name of a control: the run that it is a control of}."""
    return {name: values["control_of"] for name, values in config["runs"].items() if "control_of" in values}


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _without(config: dict[str, Any], paths: tuple[tuple[str, ...], ...]) -> dict[tuple[str, ...], Any]:
    """The leaves of a run's config, without its name and some keys."""
    return {path: value for path, value in _leaves(config) if path not in (("run",), *paths)}


def check_controls(config: dict[str, Any], runs: dict[str, dict[str, Any]]) -> None:
    """Refuse a control that is none: it must differ from its run in `training.selection` and nothing else.

    Args:
        config: the whole config.
        runs: the config of each run (`alma.workflow.config.run_configs`).

    Raises:
        InputError: lists every control with what was found and what is expected.
    """
    found, of = [], controls(config)
    for name, run in of.items():
        key = f"runs.{name}.control_of"
        possible = ", ".join(other for other in runs if other not in of)
        if run not in runs or run in of:
            found.append(f"{key}: found {shorten(run)}, expected a run that is no control itself: {possible}")
            continue
        mine, theirs = (_without(runs[one], (SELECTION,)) for one in (name, run))
        others = [path for path in mine | theirs if mine.get(path, _NOTHING) != theirs.get(path, _NOTHING)]
        if others:
            keys = ", ".join(sorted(".".join(path) for path in others))
            found.append(
                f"{key}: found a run that differs from {run} in {keys}, expected one that differs in "
                "training.selection alone: a control has the same data and steps"
            )
        elif runs[name]["training"]["selection"] == runs[run]["training"]["selection"]:
            chosen = runs[run]["training"]["selection"]
            found.append(
                f"{key}: found the training.selection of {run}, {chosen!r}, expected another, as in "
                "training: {selection: random}"
            )
    fail_with(found, "config: controls that control nothing (docs/config.md explains `runs`)")


def replicates(runs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """{name of a run: the first run that differs from it in seeds alone}; itself where none is before it.

    A key that is null takes the seed of the run, so what counts is whether all else is the same.
    """
    found: dict[str, str] = {}
    for name, config in runs.items():
        mine = _without(config, SEEDS)
        found[name] = next(
            (first for first in dict.fromkeys(found.values()) if _without(runs[first], SEEDS) == mine), name
        )
    return found
