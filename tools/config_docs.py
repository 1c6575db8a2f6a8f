"""Write docs/config.md, the table of every config key, from schemas/config.schema.yaml.

Run: python tools/config_docs.py   (a test fails while the page and the schema differ)
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.workflow.config import ROOT, load_schema, resolve

PAGE = ROOT / "docs" / "config.md"
HEAD = """# Config keys

Made from `schemas/config.schema.yaml` by `python tools/config_docs.py`; do not edit by hand.

A run reads `config.yaml`; `--configfile my.yaml` lays your file over it, key by key, and every key that
neither holds takes its default. A wrong key or value is refused before any job starts.

A *source* is a local path, `hub:OWNER/NAME@REVISION` (the revision is a full commit hash; for a data set
also `hub:OWNER/NAME@REVISION:SPLIT`), or `package:NAME` for a model that a package carries.

| key | legal values | default | meaning |
|---|---|---|---|
"""


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


def table_rows(node: dict[str, Any], schema: dict[str, Any], path: str = "") -> list[str]:
    """One Markdown row a key, in the order of the schema, deeper keys after their parent."""
    rows = []
    for key, child in node.get("properties", {}).items():
        child = resolve(child, schema)
        here = f"{path}{key}"
        meaning = " ".join(str(child.get("description", "")).split())
        deeper = child if "properties" in child else None
        for option in child.get("oneOf", []):
            deeper = option if "properties" in option else deeper
        if deeper is None or "oneOf" in child:
            default = f"`{json.dumps(child['default'])}`" if "default" in child else "none: must be given"
            rows.append(f"| `{here}` | {legal_values(child)} | {default} | {meaning} |")
        if deeper is not None:
            rows += table_rows(deeper, schema, f"{here}.")
    return rows


def page() -> str:
    """The whole page as Markdown."""
    schema = load_schema()
    return HEAD + "\n".join(table_rows(schema, schema)) + "\n"


def main(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
