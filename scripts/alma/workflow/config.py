"""Check a config against the schema, fill in defaults, and derive the config of each run."""

import contextlib
import copy
import math
import re
from pathlib import Path
from typing import Any

from alma.errors import InputError, fail_with, shorten
from alma.label_sets.registry import sets_for, split_set
from alma.workflow.comparisons import RELATIONS, check_controls
from alma.workflow.sharding import ceil_div

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schemas" / "config.schema.yaml"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_EVALUATED = re.compile(r"base|sft-(0|[1-9][0-9]{0,5})|round-([2-9]|[1-9][0-9])")  # names of checkpoints
_MAX_DEPTH = 20
_MAX_VALUES = 10_000
_MAX_JOBS = 1_000_000
_TRAININGS = (
    ("judge", "training"),
    ("judge", "distillation", "training"),
    ("training", "sft"),
    ("training", "dpo"),
)
_RENAMED = {
    "seeds": "labels",
    "prompts.per_shard": "prompts.raw_per_shard",
    "prompts.examples": "prompts.shots",
    "judge.examples": "judge.shots",
    "evaluation.examples": "evaluation.shots",
    "training.threads.seeds": "training.threads.sft and training.threads.judge",
}


def load_schema() -> dict[str, Any]:
    """The config schema as a dict."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    return yaml.load(SCHEMA.read_text(encoding="utf-8"), loader)


def resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow the `$ref` of a schema node into `$defs`; the node's own keys win."""
    if "$ref" not in node:
        return node
    target = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return target | {key: value for key, value in node.items() if key != "$ref"}


def fill_defaults(values: dict[str, Any], node: dict[str, Any], schema: dict[str, Any]) -> None:
    """Add the schema's default for every key that `values` lacks, at every depth, in place.

    Where the default of an object names keys (DPO's learning rate), they come before the defaults of the
    keys themselves, also where `values` holds a part of the object.
    """
    for key, child in node.get("properties", {}).items():
        child = resolve(child, schema)
        if key not in values and "default" in child:
            values[key] = copy.deepcopy(child["default"])
        if isinstance(values.get(key), dict):
            if "properties" in child:
                values[key] = merge(child.get("default", {}), values[key])
            fill_defaults(values[key], child, schema)
            each = child.get("additionalProperties")
            if isinstance(each, dict):  # objects by name
                for inner in values[key].values():
                    if isinstance(inner, dict):
                        fill_defaults(inner, resolve(each, schema), schema)


def _strange(config: Any) -> list[str]:
    """What no schema can refuse: values that YAML can hold and JSON cannot, and values without an end.

    A YAML file of a few lines can stand for a billion values (aliases of aliases), or hold itself.
    """
    found: list[str] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), config)]
    seen = 0
    while waiting:
        path, value = waiting.pop()
        where = ".".join(path) or "config"
        seen += 1
        if seen > _MAX_VALUES or len(path) > _MAX_DEPTH:
            limits = f"at most {_MAX_VALUES:,} values and {_MAX_DEPTH} levels"
            return [f"{where}: found a config that goes on and on, expected {limits} (YAML aliases?)"]
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    found.append(f"{where}: found the key {shorten(key)}, expected text (write it in quotes)")
            waiting += [((*path, str(key)), inner) for key, inner in value.items() if isinstance(key, str)]
        elif isinstance(value, list):
            waiting += [((*path, str(i)), inner) for i, inner in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            found.append(f"{where}: found {value}, expected a finite number")
        elif isinstance(value, int) and abs(value) >= 2**63:
            found.append(f"{where}: found {shorten(value)}, expected a number below 2**63")
    return sorted(found)


def _legal(error: Any) -> str:
    """What the schema wants, in words, for one jsonschema error."""
    kind, want = error.validator, error.validator_value
    words = {
        "enum": lambda: "one of " + ", ".join(map(str, want)),
        "type": lambda: " or ".join(want) if isinstance(want, list) else want,
        "minimum": lambda: f"at least {want}",
        "maximum": lambda: f"at most {want}",
        "exclusiveMinimum": lambda: f"more than {want}",
        "exclusiveMaximum": lambda: f"less than {want}",
        "pattern": lambda: f"text that matches {want}",
        "minLength": lambda: "text that is not empty",
        "maxLength": lambda: f"text of at most {want} characters",
        "minProperties": lambda: f"at least {want} of them",
        "minItems": lambda: f"at least {want} values",
        "maxItems": lambda: f"at most {want} values",
        "uniqueItems": lambda: "values that differ",
    }
    return words.get(kind, lambda: error.message)()


def _missing(path: str) -> list[str]:
    """A line for each key that must be given at or below a path that is not there, with its meaning."""
    schema = load_schema()
    node = schema
    for key in path.split("."):
        for option in (node, *node.get("oneOf", [])):
            if key in option.get("properties", {}):
                child = option["properties"][key]
        node = resolve(child, schema)
    if "required" in node:
        return [line for key in node["required"] for line in _missing(f"{path}.{key}")]
    return [f"{path}: missing; expected: {' '.join(node['description'].split())}"]


def _describe(error: Any) -> list[str]:
    path = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(error.schema.get("properties", {}))
        prefix = f"{path}." if path else ""
        unknown = sorted(set(map(str, error.instance)) - set(known))
        here = f"unknown key; known here: {', '.join(known)}"
        return [
            f"{prefix}{shorten(key)[1:-1]}: "
            + (f"an old name; the key is now {_RENAMED[prefix + key]}" if prefix + key in _RENAMED else here)
            for key in unknown
        ]
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return [line for key in missing for line in _missing(f"{path}.{key}".lstrip("."))]
    if error.validator == "oneOf":
        deeper = [
            e for e in error.context or [] if e.absolute_path != error.absolute_path or e.validator != "type"
        ]
        if deeper and isinstance(error.instance, dict):
            return [line for e in deeper for line in _describe(e)]
        wanted = " or ".join(dict.fromkeys(_legal(e) for e in error.context or []))
        return [f"{path}: found {shorten(error.instance)}, expected {wanted}"]
    hint = ""
    if error.validator == "type" and isinstance(error.instance, str):
        with contextlib.suppress(ValueError):
            hint = f" (write {float(error.instance)!r} as a number: YAML needs a dot, as in 1.0e-5)"
    return [f"{path or 'config'}: found {shorten(error.instance)}, expected {_legal(error)}{hint}"]


def _contradictions(config: dict[str, Any]) -> list[str]:
    """What single keys cannot show: values that do not fit together, files that are not there."""
    found = []
    low, high = config["judge"]["scale"]
    if low >= high:
        found.append(f"judge.scale: found [{low}, {high}], expected the lower end first")
    elif not math.isfinite((float(high) - float(low)) * 10):
        found.append(f"judge.scale: found [{low}, {high}], expected a range that a float can hold")
    # A shard of prompts is written, filtered, compared, cut to what stays, and embedded; with cells it is
    # assigned to them too, and as many parts of the cells are clustered.
    each = 7 if config["prompts"]["cells"] else 5
    jobs = each * config["prompts"]["shards"] + config["checkpoints"]["sft"]
    jobs += (
        (config["rounds"] - 1)
        * ceil_div(config["prompts_per_round"], config["prompts_per_shard"])
        * ceil_div(config["samples_per_prompt"], config["samples_per_block"])
        * len(config["checkpoints"]["sample"])
    )
    if jobs > _MAX_JOBS:
        found.append(
            f"rounds, prompts_per_round, samples_per_prompt: found about {jobs:,} jobs, expected at most "
            f"{_MAX_JOBS:,} (larger prompts_per_shard and samples_per_block make fewer)"
        )
        return found  # what follows lists checkpoints, of which there could be billions
    for name, variant in config.get("runs", {}).items():
        if name == config["run"]:
            found.append(f"runs.{name}: found the name of the main run (run), expected another")
        for key in ("inherits", "control_of"):
            if not isinstance(variant.get(key, ""), str):
                found.append(f"runs.{name}.{key}: found {shorten(variant[key])}, expected the name of a run")
        named = variant.get("table", [])
        for table in named if isinstance(named, list) else [named]:
            if not isinstance(table, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", table):
                found.append(
                    f"runs.{name}.table: found {shorten(table)}, expected a name of letters, digits, - and _"
                )
        for key in sorted({"run", "runs"} & set(variant)):
            found.append(f"runs.{name}.{key}: a variant cannot hold this key; it is the run {name}")
    few, most = config["prompts"]["shots"]
    if few > most:
        found.append(f"prompts.shots: found [{few}, {most}], expected the smaller number first")
    for name in config["checkpoints"]["sample"]:
        if name != "latest" and int(name.split("-")[1]) >= config["checkpoints"]["sft"]:
            trained = config["checkpoints"]["sft"]
            found.append(
                f"checkpoints.sample: found {name}, expected sft-0 .. sft-{trained - 1} or latest "
                f"(checkpoints.sft is {trained})"
            )
    for name in config["annotation"]["checkpoints"]:
        kind, _, number = name.partition("-")
        least, most = {"sft": (0, config["checkpoints"]["sft"] - 1), "round": (2, config["rounds"])}.get(
            kind, (0, 0)
        )
        if not least <= int(number or 0) <= most:
            wanted = f"sft-0 .. sft-{config['checkpoints']['sft'] - 1}"
            wanted += f", round-2 .. round-{config['rounds']}" * (config["rounds"] > 1)
            found.append(f"annotation.checkpoints: found {name}, expected {wanted} or latest")
    if config["annotation"]["prompts"] > config["annotation"]["pool"]:
        found.append(
            f"annotation.prompts: found {config['annotation']['prompts']}, expected at most annotation.pool "
            f"({config['annotation']['pool']}), from which they are chosen"
        )
    own = config["evaluation"]["selection"]
    if int(own["checkpoint"].split("-")[1]) >= config["checkpoints"]["sft"]:
        trained = config["checkpoints"]["sft"]
        found.append(
            f"evaluation.selection.checkpoint: found {own['checkpoint']}, expected sft-0 .. "
            f"sft-{trained - 1} (checkpoints.sft is {trained})"
        )
    if own["benchmark"] not in (None, *config["evaluation"]["benchmarks"]):
        known = ", ".join(sorted(config["evaluation"]["benchmarks"]))
        found.append(
            f"evaluation.selection.benchmark: found {shorten(own['benchmark'])}, expected one of "
            f"evaluation.benchmarks ({known}) or null"
        )
    found += _wrong_judges(config)
    found += _wrong_harness(config)
    if config["prompts"]["clusters"] < config["prompts_per_round"]:
        found.append(
            f"prompts.clusters: found {config['prompts']['clusters']}, expected at least "
            f"prompts_per_round ({config['prompts_per_round']}): a round takes one prompt per cluster"
        )
    if (config["prompts"]["cells"] or 1) > config["prompts"]["clusters"]:
        found.append(
            f"prompts.cells: found {config['prompts']['cells']}, expected at most prompts.clusters "
            f"({config['prompts']['clusters']}): a cell has at least one cluster"
        )
    for name, values in _trainings(config).items():
        if values["batch_size"] % values["micro_batch_size"]:
            found.append(
                f"{name}.micro_batch_size: found {values['micro_batch_size']}, expected "
                f"a divisor of batch_size ({values['batch_size']})"
            )
        elif values["batch_size"] // values["micro_batch_size"] % values["gpus"]:
            found.append(
                f"{name}.gpus: found {values['gpus']}, expected a divisor of batch_size / micro_batch_size "
                f"({values['batch_size']} / {values['micro_batch_size']})"
            )
    for key, (holder, last) in _data_keys(config).items():
        label_set, source = split_set(holder[last])
        known = ", ".join(sets_for(key))
        if label_set and label_set not in sets_for(key):
            wanted = f"one of the label sets that it can take ({known})" if known else "no label set"
            found.append(f"{key}: found the label set {label_set}, expected {wanted}")
        elif is_local(source) and not _is_there(source, folder=False):
            named = re.match(r"[\w-]+:", source)
            hint = f"; label sets that can stand before the colon: {known}" if named and known else ""
            found.append(
                f"{key}: found {source!r}, expected a file that exists (looked in {Path.cwd()}){hint}"
            )
        elif source.startswith("package:"):
            found.append(f"{key}: found {source!r}, expected a path or hub:OWNER/NAME@REVISION")
    for key, source in {
        **data_sources(config),
        "base_model": config["base_model"]["source"],
    }.items():
        if source.startswith("hub:") and not _COMMIT.fullmatch(source.partition("@")[2].split(":")[0]):
            found.append(
                f"{key}: found {source!r}, expected hub:OWNER/NAME@REVISION with the 40 digits of a commit"
            )
    judge_set = split_set(config["labels"]["judge"])[0]
    if judge_set and [low, high] != [0, 10]:
        found.append(
            f"judge.scale: found [{low}, {high}], expected [0, 10]: the reader of {judge_set} (labels.judge) "
            f"maps the scores itself"
        )
    template = config["base_model"]["chat_template"]
    if template and not _is_there(template, folder=False):
        found.append(f"base_model.chat_template: found {template!r}, expected a file that exists")
    model = config["base_model"]["source"]
    if is_local(model) and not _is_there(model):
        found.append(
            f"base_model: found {model!r}, expected a folder or file that exists, "
            "hub:OWNER/NAME@REVISION or package:NAME"
        )
    return found


def _trainings(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The trainings of a config, by their key."""
    found = {}
    for keys in _TRAININGS:
        values = config
        for key in keys:
            values = values[key]
        found[".".join(keys)] = values
    return found


def gpus_of_jobs(config: dict[str, Any]) -> dict[str, int]:
    """{key of a config: GPUs that one job takes by it, where jobs run on GPUs}."""
    found = {"engine.tensor_parallel_size": config["engine"]["tensor_parallel_size"]}
    unused = "training.dpo" if config["training"]["objective"] == "best_of_n" else None
    trainings = _trainings(config).items()
    return found | {f"{name}.gpus": values["gpus"] for name, values in trainings if name != unused}


def is_reference_file(reference: str) -> bool:
    """Whether `evaluation.reference` names a file of outputs, and no checkpoint."""
    return not _EVALUATED.fullmatch(reference)


def _evaluated(config: dict[str, Any]) -> list[str]:
    """Checkpoints that a run evaluates."""
    sft = [f"sft-{i}" for i in range(config["checkpoints"]["sft"])]
    return ["base", *sft, *(f"round-{r}" for r in range(2, config["rounds"] + 1))]


# Keys of a judge that only one kind of it reads.
_OF_KIND = {
    "api": (
        *("asks", "base_url", "api_key_env", "price", "temperature", "max_tokens", "body"),
        *("max_retries", "timeout", "concurrency"),
    ),
    "reward": ("max_length",),
}


def _wrong_judges(config: dict[str, Any]) -> list[str]:
    """What does not fit together in `evaluation.judges` and `evaluation.reference`."""
    found: list[str] = []
    evaluation, known = config["evaluation"], _evaluated(config)
    judges, reference = evaluation["judges"], evaluation["reference"]
    if judges and not is_reference_file(reference) and reference not in known:
        found.append(f"evaluation.reference: found {reference}, expected a file or one of {', '.join(known)}")
    if judges and is_reference_file(reference):
        if is_local(reference) and not _is_there(reference, folder=False):
            found.append(
                f"evaluation.reference: found {shorten(reference)}, expected a file that exists, or one of "
                f"{', '.join(known)} (looked in {Path.cwd()})"
            )
        elif not is_local(reference) and not _COMMIT.fullmatch(reference.partition("@")[2].split(":")[0]):
            found.append(
                f"evaluation.reference: found {reference!r}, expected hub:OWNER/NAME@REVISION with the 40 "
                f"digits of a commit"
            )
    empty: dict[str, Any] = {}
    schema = load_schema() if judges else {}
    if judges:
        fill_defaults(empty, schema["$defs"]["outside_judge"], schema)
    for name, judge in sorted(judges.items()):
        where, kind, model = f"evaluation.judges.{name}", judge["kind"], judge["model"]
        if name == "own":
            found.append(f"{where}: found a name that stands for the run's own judge, expected another")
        for other in sorted(set(_OF_KIND) - {kind}):
            found += [
                f"{where}.{key}: a key of the kind {other}, found in one of the kind {kind}"
                for key in _OF_KIND[other]
                if judge[key] != empty[key]
            ]
        for checkpoint in judge["checkpoints"] or []:
            if checkpoint not in (*known, "final"):
                found.append(
                    f"{where}.checkpoints: found {checkpoint}, expected one of {', '.join(known)}, final"
                )
        url = judge["base_url"]
        if url is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            found.append(
                f"{where}.base_url: found {shorten(re.sub(r'//[^/]*@', '//...@', url))}, expected "
                f"http://HOST/v1 or https://HOST/v1, without a name, a key or a query (api_key_env is for "
                f"the key)"
            )
        if kind == "reward" and is_local(model) and not Path(model).is_dir():
            found.append(f"{where}.model: found {shorten(model)}, expected a folder that exists, or hub:...")
        elif kind == "reward" and not is_local(model) and not _COMMIT.fullmatch(model.partition("@")[2]):
            found.append(
                f"{where}.model: found {model!r}, expected a folder or hub:OWNER/NAME@REVISION with the 40 "
                f"digits of a commit"
            )
    return found


def _wrong_harness(config: dict[str, Any]) -> list[str]:
    """What does not fit together in `evaluation.harness`."""
    harness, known = config["evaluation"]["harness"], (*_evaluated(config), "final")
    found = [
        f"evaluation.harness.checkpoints: found {name}, expected one of {', '.join(known)}"
        for name in harness["checkpoints"]
        if name not in known
    ]
    folder = harness["include_path"]
    if folder is not None and not Path(folder).is_dir():
        found.append(
            f"evaluation.harness.include_path: found {shorten(folder)}, expected a folder that exists"
        )
    return found


def is_local(source: str) -> bool:
    """Whether a source is a path (neither hub: nor package:)."""
    return not source.startswith(("hub:", "package:"))


def _is_there(path: str, folder: bool = True) -> bool:
    """Whether a path leads to a file (or a folder, where that will do) that can be looked at."""
    try:
        return Path(path).is_file() or (folder and Path(path).is_dir())
    except OSError:  # a name of thousands of characters, a folder that is closed to us
        return False


def _data_keys(config: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where a config names its data sets: {key path: (dict or list that holds it, its place there)}."""
    labels, benchmarks = config["labels"], config["evaluation"]["benchmarks"]
    found: dict[str, tuple[Any, Any]] = {f"labels.{key}": (labels, key) for key in ("sft", "judge")}
    annotations = labels["annotations"]
    found |= {f"labels.annotations.{i}": (annotations, i) for i in range(len(annotations))}
    found |= {f"evaluation.benchmarks.{name}": (benchmarks, name) for name in benchmarks}
    if config["judge"]["benchmark"]:
        found["judge.benchmark"] = (config["judge"], "benchmark")
    return found


def data_sources(config: dict[str, Any]) -> dict[str, str]:
    """Every data set of a config: {key path: source, without the name of a label set}."""
    return {path: split_set(holder[key])[1] for path, (holder, key) in _data_keys(config).items()}


def _anchor(path: str) -> str:
    """A relative path as it is where it exists, else beside the Snakefile where it exists there."""
    beside = ROOT / path
    return str(beside) if not _is_there(path) and _is_there(str(beside)) else path


def anchor_paths(config: dict[str, Any]) -> None:
    """Find the relative paths of a config in the working directory or beside the Snakefile, in place."""
    model = config["base_model"]
    for holder, key in [*_data_keys(config).values(), (model, "source"), (model, "chat_template")]:
        name, source = split_set(holder[key] or "")
        if source and is_local(source):
            holder[key] = f"{name}:{_anchor(source)}" if name else _anchor(source)
    evaluation = config["evaluation"]
    if is_reference_file(evaluation["reference"]) and is_local(evaluation["reference"]):
        evaluation["reference"] = _anchor(evaluation["reference"])
    if evaluation["harness"]["include_path"]:
        evaluation["harness"]["include_path"] = _anchor(evaluation["harness"]["include_path"])
    for judge in evaluation["judges"].values():
        if judge["kind"] == "reward" and is_local(judge["model"]):
            judge["model"] = _anchor(judge["model"])


def check_config(config: dict[str, Any], where: str = "config") -> None:
    """Fill in defaults and check everything that can be checked without reading data, in place.

    Raises:
        InputError: lists every wrong key with its full path, what was found and what is expected.
    """
    from jsonschema import Draft202012Validator

    schema = load_schema()
    heading = f"{where}: wrong keys (docs/config.md explains every key)"
    fail_with(_strange(config), heading)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config),
        key=lambda e: list(map(str, e.absolute_path)),
    )
    if any(error.validator == "required" and not error.absolute_path for error in errors):
        heading += ". A --configfile stands alone: config.yaml, the demonstration, is not read beside it"
    # jsonschema has an error for each missing key, and none says which: each gives the lines of all.
    fail_with(list(dict.fromkeys(line for error in errors for line in _describe(error))), heading)
    if isinstance(config["base_model"], str):
        config["base_model"] = {"source": config["base_model"]}
    node = resolve(schema["properties"]["base_model"]["oneOf"][1], schema)
    fill_defaults(config["base_model"], node, schema)
    fill_defaults(config, schema, schema)
    anchor_paths(config)
    fail_with(_contradictions(config), heading)


def merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the values of `override` laid over it, key by key at every depth."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def parents(config: dict[str, Any]) -> dict[str, str]:
    """The run that each variant of `runs` inherits from, by name; a control's is the run that it controls."""
    return {
        name: values.get("inherits", values.get("control_of", config["run"]))
        for name, values in config["runs"].items()
    }


def run_configs(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Config of the main run and of every variant in `runs`, by name; each is checked."""
    main = {key: value for key, value in config.items() if key != "runs"}
    found, inherits = {config["run"]: main}, parents(config)
    for name in config["runs"]:
        chain: list[str] = []
        parent = name
        while parent != config["run"]:
            if parent not in config["runs"] or parent in chain:
                known = ", ".join([config["run"], *config["runs"]])
                holder = chain[-1] if chain else name
                key = "inherits" if "inherits" in config["runs"][holder] else "control_of"
                raise InputError(
                    f"runs.{holder}.{key}: found {parent!r}, expected one of {known}, without a circle"
                )
            chain.append(parent)
            parent = inherits[parent]
        variant = main
        for link in reversed(chain):
            override = {k: v for k, v in config["runs"][link].items() if k not in RELATIONS}
            variant = merge(variant, override)
        variant["run"] = name
        check_config(variant, f"config, runs.{name}")
        variant.pop("runs")
        found[name] = variant
    check_controls(config, found)
    return found
