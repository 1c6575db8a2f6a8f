"""Write docs/config.md, the table of every config key, from schemas/config.schema.yaml and config.yaml.

Run: python tools/config_docs.py   (a test fails while the page and its sources differ)
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.workflow.config import ROOT, load_schema, resolve

PAGE = ROOT / "docs" / "config.md"
HEAD = """# Config keys

Made from `schemas/config.schema.yaml` and `config.yaml` by `python tools/config_docs.py`; do not edit by
hand.

With `--configfile my.yaml` a run takes your file, and the default of every key that it does not hold. Of
several files the later ones are laid over the earlier ones, key by key. Without a `--configfile` a run is the
demonstration: it takes `config.yaml` and the defaults. The last column shows what the demonstration changes;
where it is empty the default applies there too. A wrong key or value is refused before any job starts.

`--configfile` takes every word up to the next option for a file. So targets stand before it, or after `--`:
`snakemake --cores all --configfile my.yaml -- judge`. `tools/alma run my.yaml judge` is the same command.

The defaults are for a base model of some billion weights on GPUs and a few thousand human labels.

A *source* is a local path, `hub:OWNER/NAME@REVISION` (the revision is a full commit hash; for a data set
also `hub:OWNER/NAME@REVISION:SPLIT`), or `package:NAME` for a model that a package carries.

| key | legal values | default | meaning | demonstration |
|---|---|---|---|---|
"""


def as_yaml(value: Any) -> str:
    """A value as a config file may hold it: YAML 1.1 reads 1e-05, which has no dot, as text."""
    text = json.dumps(value)
    return re.sub(r"^(\d+)e-0?", r"\1.0e-", text) if isinstance(value, float) else text


def legal_values(node: dict[str, Any]) -> str:
    """What a schema node allows, in a few words."""
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "oneOf" in node:
        return "a source or null" if any(n.get("type") == "null" for n in node["oneOf"]) else "a source"
    kind = node.get("type", "")
    words = " or ".join(kind) if isinstance(kind, list) else kind
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {node[key]}" for key, sign in bounds.items() if key in node]
    return f"{words}, {' and '.join(limits)}" if limits else words


def table_rows(
    node: dict[str, Any],
    schema: dict[str, Any],
    demonstration: dict[str, Any],
    path: str = "",
    defaults: dict[str, Any] | None = None,
) -> list[str]:
    """One Markdown row per key, in the order of the schema, deeper keys after their parent.

    Args:
        node: schema of an object; schema: the whole schema, for its references.
        demonstration: what config.yaml holds of this object.
        path: keys above, with a dot at the end.
        defaults: what the default of the object itself says of its keys; it goes before theirs.
    """
    rows = []
    for key, child in node.get("properties", {}).items():
        child = resolve(child, schema)
        if key in (defaults or {}):
            child = child | {"default": (defaults or {})[key]}
        here, ours = f"{path}{key}", demonstration.get(key)
        meaning = " ".join(str(child.get("description", "")).split())
        deeper = child if "properties" in child else None
        each = child.get("additionalProperties")
        named = resolve(each, schema) if isinstance(each, dict) else {}
        for option in child.get("oneOf", []):
            deeper = option if "properties" in option else deeper
        if deeper is None or "oneOf" in child:
            default = f"`{as_yaml(child['default'])}`" if "default" in child else "none: must be given"
            shown = "" if deeper is not None or key not in demonstration else f"`{as_yaml(ours)}`"
            rows.append(f"| `{here}` | {legal_values(child)} | {default} | {meaning} | {shown} |")
        if deeper is not None:
            rows += table_rows(
                deeper, schema, ours if isinstance(ours, dict) else {}, f"{here}.", child.get("default")
            )
        if "properties" in named:
            rows += table_rows(named, schema, {}, f"{here}.NAME.")
    return rows


def page() -> str:
    """The whole page as Markdown."""
    schema = load_schema()
    demonstration = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return HEAD + "\n".join(table_rows(schema, schema, demonstration)) + "\n"


def main(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
