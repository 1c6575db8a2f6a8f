"""The command `tools/trace`: arguments, and the text that people read."""

import argparse
import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from alma.errors import InputError
from alma.trace.damage import find_damage
from alma.trace.lineage import lineage, locate
from alma.trace.provenance import accepted_text
from alma.trace.row_origin import trace_row

Facts = dict[str, Any]
WIDTH = 110
BAR = 30  # characters of a bar of probability 1


def printable(text: str) -> str:
    """Text without control characters: a terminal would obey those that a model wrote."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def one_line(text: str, limit: int) -> str:
    """Text on one line, cut after `limit` characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def block(text: str, indent: str) -> str:
    """A text as an indented block, its own line breaks kept."""
    lines = printable(text).splitlines() or ["(empty)"]
    wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH - len(indent)) or [""]]
    return "\n".join(f"{indent}{line}".rstrip() for line in wrapped)


def flat_params(values: Facts, prefix: str = "") -> Iterator[str]:
    """Nested params as key=value; those of the engine are left out."""
    for key, value in values.items():
        if isinstance(value, dict):
            if key != "engine":
                yield from flat_params(value, f"{prefix}{key}.")
        else:
            shown = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{key.rstrip('_')}={shown}"


def origin(facts: Facts) -> str:
    """Rule, wildcards, seed, code hash, content hash, commit and time of an artifact on one line."""
    if facts["kind"] != "made":
        content = f" | content {facts['content'][:12]}" if facts.get("content") else ""
        return ("given, not made by a rule" if facts["kind"] == "given" else "no record") + content
    names = [f"{key}={value}" for key, value in facts["wildcards"].items() if key != "run"]
    seed = [] if facts["seed"] is None else [f"seed {json.dumps(facts['seed'])}"]
    commit = facts["commit"] or "none"
    commit = commit[:8] + "-dirty" * commit.endswith("-dirty")
    parts = [" ".join([facts["rule"], *names]), *seed, f"code {facts['code'][:8]}"]
    parts += [f"content {facts['content'][:12]}", f"commit {commit}", facts["time"]]
    return " | ".join(parts)


def lineage_text(found: dict[str, Facts]) -> str:
    """A tree of artifacts; each is described once, by a number that later places refer to."""
    numbers: dict[str, int] = {}
    lines: list[str] = []

    def show(path: str, first: str, rest: str) -> None:
        if path in numbers:
            lines.append(f"{first}{path} (see [{numbers[path]}])")
            return
        facts = found[path]
        numbers[path] = len(numbers) + 1
        parents = facts.get("from", [])
        below = rest + ("│  " if parents else "   ")
        lines.append(f"{first}[{numbers[path]}] {path}")
        lines.append(f"{below}{origin(facts)}")
        params = ", ".join(flat_params(facts.get("params", {})))
        wide = max(WIDTH - len(below), 60)
        lines.extend(f"{below}{line}" for line in textwrap.wrap(printable(params), wide))
        lines.extend(f"{below}{printable(accepted_text(entry))}" for entry in facts.get("accepted", []))
        lines.extend(f"{below}! {note}" for note in facts["notes"])
        for i, parent in enumerate(parents, start=1):
            last = i == len(parents)
            show(parent, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    show(next(iter(found)), "", "")
    return "\n".join(lines)


def _score(facts: Facts) -> str:
    return "no score" if facts["score"] is None else f"score {facts['score']:.3f}"


def _bars(p: list[float]) -> Iterator[str]:
    """The judge's distribution over the ratings, one bar per rating."""
    for rating, value in enumerate(p):
        yield f"    {rating:>2}  {value:.4f}  {'█' * round(BAR * value)}".rstrip()


def _response_text(title: str, facts: Facts) -> Iterator[str]:
    """One response in full, with what sampled it and what scored it."""
    models, judges = ", ".join(facts["models"]), ", ".join(facts["judges"])
    yield f"{title}: {facts['response_id']}"
    yield (
        f"  checkpoint {facts['checkpoint']}, sample {facts['sample']}, seed {facts['seed']}, "
        f"finish {facts['finish_reason']}, {facts['tokens']} tokens"
    )
    yield f"  sampled in {facts['table']} from {models or 'an unknown model'}"
    mass = "" if facts["mass"] is None else f" (mass {facts['mass']:.4f} on the eleven ratings)"
    yield f"  {_score(facts)}{mass}, by {judges or 'an unknown judge'} in {facts['score_table']}"
    yield from _bars(facts["p"] or [])


def _prompt_text(facts: Facts) -> Iterator[str]:
    """Where a prompt comes from."""
    raw, cluster = facts["raw"], facts["cluster"]
    yield f"prompt: {facts['source']}, dealt in {facts['table']}"
    if raw:
        models = ", ".join(raw["models"])
        yield f"  written in {raw['table']}, row {raw['row']}, seed {raw['seed']}, by {models}"
    else:
        yield "  written in: not found among the raw prompts"
    more = "".join(f", {k} {cluster[k]}" for k in ("rank", "distance") if cluster.get(k) is not None)
    yield f"  cluster {cluster['cluster']}{more}"
    yield f"  few-shot examples: {len(facts['examples'])}"
    for example in facts["examples"]:
        text = example["text"]
        yield f"    {example['prompt_id']}"
        yield "      (no longer among the seeds)" if text is None else block(text, "      ")


def row_text(facts: Facts, full: bool = False) -> str:
    """The way back of a row; other candidates are shortened unless `full`."""
    lines = [f"{facts['table']}, row {facts['row']}", f"prompt id {facts['prompt_id']}", ""]
    for column, messages in facts["messages"].items():
        for message in messages:
            lines += [f"{column} ({message['role']}):", block(message["content"], "  ")]
    lines.append("")
    if "seed" in facts:
        seed = facts["seed"]
        lines.append(f"seed row: {seed['place'] or 'not found'}")
        lines.append(f"  read into {seed['table']}, row {seed['row']}")
        lines += [f"  ! {seed['note']}"] * bool(seed["note"])
    else:
        lines += [*_prompt_text(facts["prompt"]), ""]
        others = []
        for candidate in facts["candidates"]:
            if candidate["verdict"]:
                lines += [*_response_text(candidate["verdict"], candidate), ""]
            else:
                others.append(candidate)
        lines.append(
            f"other candidates: {len(others)} (of {len(facts['candidates'])} responses, "
            f"{facts['selected']['candidates']} could be chosen; in {facts['selected']['table']})"
        )
        for c in others:
            out = f"out: {c['why_out']}" if c["why_out"] else "could be chosen"
            if full:
                lines += ["", *_response_text(f"{out}, response", c), block(c["response"], "  ")]
                continue
            lines.append(
                f"  {c['checkpoint']} sample {c['sample']}: {_score(c)}, finish {c['finish_reason']}, {out}"
            )
            lines.append(f"    {one_line(c['response'], 100)}")
    lines += ["", "records:"]
    for record in facts["records"]:
        lines += [f"  {record['path']}", f"    {origin(record)}"]
        lines += [f"    {printable(accepted_text(entry))}" for entry in record.get("accepted", [])]
        lines += [f"    ! {note}" for note in record["notes"]]
    return "\n".join(lines)


def check_text(facts: Facts) -> str:
    """What is damaged, what made it and how to rebuild it."""
    lines = []
    for damage in facts["damaged"]:
        names = ", ".join(f"{key}={value}" for key, value in sorted(damage["wildcards"].items()))
        lines.append(f"{damage['path']}: {damage['fault']}")
        lines += [f"    made by   rule {damage['rule']} ({names})"] * bool(damage["rule"])
        lines.append(f"    rebuild   {damage['command']}")
    if facts["unrecorded"]:
        shown = ", ".join(facts["unrecorded"][:5])
        more = " and more" * (len(facts["unrecorded"]) > 5)
        lines.append(f"no record, so not checked: {len(facts['unrecorded'])} files ({shown}{more})")
    accepted: dict[str, list[str]] = {}
    for artifact in facts["accepted"]:
        for entry in artifact["entries"]:
            accepted.setdefault(printable(accepted_text(entry)), []).append(artifact["path"])
    for text, paths in accepted.items():
        more = f" and {len(paths) - 3} more" * (len(paths) > 3)
        lines += [text, f"    {', '.join(paths[:3])}{more}"]
    bad = len(facts["damaged"])
    lines.append(f"{facts['checked']} files checked, {bad or 'none'} damaged or missing")
    return "\n".join(lines)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="trace", description="Show where an artifact or a row comes from.")
    parser.add_argument("path", help="an artifact, a checkpoint's folder, or with --check a run's folder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--row", type=int, metavar="N", help="row N of a training set, counted from 0")
    which.add_argument("--id", metavar="PROMPT_ID", help="the row of a training set with this prompt id")
    which.add_argument("--check", action="store_true", help="compare all files with their records")
    parser.add_argument("--full", action="store_true", help="show the text and the scores of all candidates")
    parser.add_argument("--json", action="store_true", help="print JSON, with every text in full")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 for damaged files and for what cannot be traced."""
    options = arguments(given)
    status = 0
    facts: Any
    try:
        with contextlib.redirect_stdout(sys.stderr):  # notes; what is printed may be JSON
            home, path = locate(options.path)
            if options.check:
                facts = find_damage(home, path)
                text, status = check_text(facts), int(bool(facts["damaged"]))
            elif options.row is not None or options.id is not None:
                facts = trace_row(home, path, options.row, options.id)
                text = row_text(facts, options.full)
            else:
                found = lineage(home, path)
                facts, text = {"root": next(iter(found)), "artifacts": found}, lineage_text(found)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(json.dumps(facts, indent=1, ensure_ascii=False) if options.json else text, flush=True)
    except BrokenPipeError:  # `trace ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
