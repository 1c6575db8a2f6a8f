"""Records of provenance, damaged inputs, and tools/trace, on a run made without a model."""

import importlib.util
import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import fake_run
import pytest
import warm
from hypothesis import given, settings
from hypothesis import strategies as st
from test_job import PROGRAM

from alma.checkpoints import MODEL_FILES
from alma.errors import InputError
from alma.fewshot import item_seed
from alma.files import sha256_of
from alma.selection import why_out
from alma.tables import read_table, user_text, write_table
from alma.trace import provenance
from alma.trace.command import main, printable
from alma.trace.lineage import lineage, locate, natural_key
from alma.trace.provenance import (
    check_inputs,
    fault_of,
    read_record,
    rebuild_command,
    record_path,
    write_records,
)
from alma.trace.row_origin import training_row
from alma.workflow.codehash import code_hash
from alma.workflow.config import ROOT

DATASET = "results/default/rounds/3/dataset.parquet"
PREFERENCES = "results/default/rounds/3/preferences.parquet"
SELECTED = "results/default/rounds/3/selected/0.parquet"
WEIGHTS = "results/default/models/sft-1/model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The working directory of a recorded run. Read-only."""
    home = tmp_path_factory.mktemp("made")
    fake_run.write_recorded_run(home)
    return home


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A copy of it, to damage, which is the working directory of the test."""
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def traced(capsys, *arguments, status=0):
    """What the command prints, of which stdout where it succeeds."""
    assert main([str(argument) for argument in arguments]) == status
    done = capsys.readouterr()
    return done.out if status == 0 or "--check" in arguments else done.err


# records


def test_a_record_holds_all_that_made_the_artifact(made):
    record = read_record("results/default/rounds/3/samples/round-2/0-0.parquet", made)
    assert record["rule"] == "sample_responses"
    assert record["wildcards"] == {
        "run": "default",
        "round": "3",
        "shard": "0",
        "checkpoint": "round-2",
        "block": "0",
    }
    assert record["seed"] == record["spec"]["config"]["seed"] == 0
    assert set(record["spec"]) == {"script", "code", "threads", "config"}
    assert record["python"] == platform.python_version()
    installed = {"torch"} if importlib.util.find_spec("torch") else set()
    assert {"pyarrow", "numpy", "snakemake"} | installed <= set(record["packages"])
    assert record["time"].endswith("+00:00") and "commit" in record
    weights = "results/default/models/round-2/model.safetensors"
    assert record["inputs"][weights] == sha256_of(made / weights)
    assert record["outputs"]["0-0.parquet"]["size"] > 0


def test_records_say_nothing_of_the_machine(made):
    records = [*made.rglob("provenance/**/*.json"), *made.rglob("models/*/provenance.json")]
    assert len(records) >= 30
    text = "".join(path.read_text() for path in records)
    assert str(made) not in text and str(ROOT) not in text and sys.prefix not in text
    assert f'"{socket.gethostname()}"' not in text


def test_uncommitted_edits_are_marked(tmp_path, monkeypatch):
    package = tmp_path / "alma"
    package.mkdir()
    (package / "provenance.py").write_text("x")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_commit() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    clean = provenance.git_commit()
    assert clean and len(clean) == 40
    (package / "provenance.py").write_text("y")
    assert provenance.git_commit() == f"{clean}-dirty"


def test_a_run_named_models_keeps_its_records_apart():
    assert str(record_path("results/models/seeds/a.csv")) == "results/models/provenance/seeds/a.csv.json"
    assert str(record_path("results/models/models/b/c.json")) == "results/models/models/b/provenance.json"
    assert read_record("/data/models/mine/config.json") is None


# damaged inputs


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    """One bit, with the time stamps put back: what a failing disk does."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes() + b"more")
    os.replace(other, path)


DAMAGES = {
    truncate: "is cut short",
    flip: "has other bytes",
    replace: "has grown",
    Path.unlink: "it is missing",
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.items(), ids=lambda v: getattr(v, "__name__", None))
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (SELECTED, "select_responses (round=3, run=default, shard=0)"),
        (WEIGHTS, "train_sft (index=sft-1, run=default)"),
    ],
)
def test_a_damaged_input_names_file_rule_and_command(home, path, rule, damage, words):
    expected = sha256_of(path)
    damage(Path(path))
    with pytest.raises(InputError) as caught:
        check_inputs([DATASET, path])
    message = str(caught.value)
    assert f"{path}: it" in message and words in message and f"made by   rule {rule}" in message
    assert f"snakemake --cores all --force {path}\n" in message
    if Path(path).exists():
        assert (
            expected in message and sha256_of(path) in message and str(Path(path).stat().st_size) in message
        )


def test_every_damaged_input_is_told_and_a_checkpoint_is_rebuilt_once(home):
    folder = Path(WEIGHTS).parent
    truncate(Path(WEIGHTS))
    (folder / "config.json").unlink()
    truncate(Path(SELECTED))
    with pytest.raises(InputError) as caught:
        check_inputs([str(folder / "config.json"), WEIGHTS, SELECTED])
    message = str(caught.value)
    assert message.count("made by") == 3 and message.count("snakemake") == 1
    assert f"--force {folder}/config.json {SELECTED}\n" in message


def test_copies_and_touched_files_are_no_damage(home):
    before = check_inputs([DATASET, WEIGHTS, "data/sft.jsonl", "results/default"])
    assert before == {path: sha256_of(path) for path in (DATASET, WEIGHTS, "data/sft.jsonl")}
    os.utime(DATASET)
    os.utime(WEIGHTS, (1, 1))
    assert check_inputs([DATASET, WEIGHTS, "data/sft.jsonl"]) == before


def test_inputs_are_hashed_once_and_their_hashes_go_into_the_record(home, monkeypatch):
    read = []
    monkeypatch.setattr(provenance, "sha256_of", lambda path: read.append(str(path)) or sha256_of(path))
    inputs = check_inputs([DATASET, WEIGHTS, DATASET])
    Path("results/default/x.csv").write_text("a")
    spec = {"script": "x.py", "code": "c", "threads": 1, "config": {}}
    write_records("demo", spec, {}, inputs, ["results/default/x.csv"])
    assert sorted(read) == sorted([DATASET, WEIGHTS, "results/default/x.csv"])
    assert read_record("results/default/x.csv")["inputs"] == inputs


def test_large_inputs_are_read_by_the_first_job_alone(home, monkeypatch, capsys):
    """Snakemake touches outputs after their job, so the recorded time never fits."""
    read = []
    monkeypatch.setattr(provenance, "ALWAYS_HASHED", 0)
    monkeypatch.setattr(provenance, "sha256_of", lambda path: read.append(str(path)) or sha256_of(path))
    os.utime(WEIGHTS)
    first = check_inputs([WEIGHTS])
    assert check_inputs([WEIGHTS]) == first and provenance.file_hash(WEIGHTS) == first[WEIGHTS]
    assert read == [WEIGHTS]
    os.utime(WEIGHTS)
    assert check_inputs([WEIGHTS]) == first and len(read) == 2
    flip(Path(WEIGHTS))  # the time is put back, but not that of the last change
    with pytest.raises(InputError, match="has other bytes"):
        check_inputs([WEIGHTS])
    text = traced(capsys, "--check", "results/default", status=1)
    assert "1 damaged" in text and "no record" not in text


@settings(max_examples=50, deadline=None)
@given(old=st.binary(max_size=40), new=st.binary(max_size=40), keep_time=st.booleans())
def test_any_other_bytes_are_a_fault_and_the_same_bytes_are_none(tmp_path_factory, old, new, keep_time):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(old)
    stat = path.stat()
    known = {"size": len(old), "mtime_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}
    path.write_bytes(new)
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (fault_of(path, known) is None) == (old == new)
    # Above the limit the bytes are read only where size or time differ.
    trusted = keep_time and len(old) == len(new)
    assert (fault_of(path, known, always_hashed=-1) is None) == (old == new or trusted)


def test_a_damaged_record_is_noted_and_stops_nothing(home, capsys):
    record_path(DATASET).write_text('{"rule": "x"')
    assert check_inputs([DATASET]) == {DATASET: sha256_of(DATASET)}
    assert "record of provenance is damaged" in capsys.readouterr().out
    assert "this record of provenance is damaged" in traced(capsys, "--check", "results/default", status=1)


def test_a_job_with_truncated_weights_never_reads_them(home):
    truncate(Path(WEIGHTS))
    code = code_hash(ROOT / "scripts" / "build_dataset.py")
    spec = {"script": "build_dataset.py", "code": code, "threads": 1, "config": {"fail": False}}
    program = PROGRAM.format(scripts=ROOT / "scripts").replace('"in.txt"', f'"{WEIGHTS}"')
    done = subprocess.run([sys.executable, "-c", program, json.dumps(spec)], capture_output=True)
    log = Path("run/x.log").read_text()
    assert done.returncode == 1 and "Traceback" not in log and "inside" not in log
    assert log.startswith("error: an input is not as it was made") and WEIGHTS in log


TOY = """
import json
SPEC = json.dumps({{"script": "build_dataset.py", "code": "{code}", "threads": 1, "config": {{}}}})
rule last:
    input: "results/r/b.txt"
    output: "results/r/c.txt"
    log: "results/r/logs/c.log"
    params: spec=SPEC
    script: "toy.py"
rule middle:
    input: "results/r/{{name}}.a.txt".format(name="x"), "results/r/y.a.txt"
    output: "results/r/b.txt"
    log: "results/r/logs/b.log"
    params: spec=SPEC
    script: "toy.py"
rule first:
    output: "results/r/{{name}}.a.txt"
    log: "results/r/logs/{{name}}.log"
    params: spec=SPEC
    script: "toy.py"
"""
TOY_SCRIPT = """
import sys
sys.path.insert(0, "{scripts}")
from alma.workflow.job import job
with job(snakemake):
    text = "".join(open(path).read() for path in snakemake.input) + snakemake.rule
    open(snakemake.output[0], "w").write(text)
"""


def test_the_printed_command_rebuilds_the_file_and_nothing_else(tmp_path):
    code = code_hash(ROOT / "scripts" / "build_dataset.py")
    (tmp_path / "Snakefile").write_text(TOY.format(code=code))
    (tmp_path / "toy.py").write_text(TOY_SCRIPT.format(scripts=ROOT / "scripts"))

    def run(*words):
        command = [sys.executable, "-m", "snakemake", "--show-failed-logs", *words]
        done = warm.run(command, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    status, printed = run("--cores", "1")
    assert status == 0, printed
    damaged = tmp_path / "results/r/x.a.txt"
    damaged.write_text("fir")
    status, printed = run("--cores", "1")
    assert status == 1 and "results/r/x.a.txt: it is cut short" in printed and "first (name=x)" in printed
    (command,) = [line for line in printed.splitlines() if "Rebuild with:" in line]
    words = shlex.split(command.split("Rebuild with:")[1])
    assert words == shlex.split(rebuild_command(["results/r/x.a.txt"])) and words[0] == "snakemake"
    status, printed = run(*words[1:])
    assert status == 0 and damaged.read_text() == "first"
    ran = [line for line in printed.splitlines() if line.split(" ")[0] in ("rule", "localrule")]
    assert [line.rstrip(":").split(" ")[1] for line in ran] == ["first"]
    status, printed = run("--cores", "1")
    assert status == 0 and (tmp_path / "results/r/c.txt").read_text() == "firstfirstmiddlelast"


# the way back of a row


def test_a_row_shows_its_prompt_candidates_and_records(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    text = traced(capsys, DATASET, "--row", 0)
    row = read_table(DATASET, "dataset")[0]
    assert f"prompt id {row['prompt_id']}" in text
    assert user_text(row["prompt"]) in text and row["completion"][0]["content"] in text
    seeds = {
        r["prompt_id"]: user_text(r["prompt"]) for r in read_table("results/default/seeds/sft.parquet", "sft")
    }
    prompt = read_table("results/default/rounds/3/prompts/0.parquet", "round_prompt")[0]
    assert len(prompt["examples"]) == 3
    for key in prompt["examples"]:
        assert key in text and seeds[key] in text
    # The raw shard holds a cut-off prompt with another place, so the row counts.
    raw = read_table("results/default/prompts/raw/0.parquet", "raw_prompt")
    (place,) = [
        i for i, r in enumerate(raw) if r["prompt_id"] == row["prompt_id"] and r["finish_reason"] == "stop"
    ]
    assert (
        f"prompts/raw/0.parquet, row {place}, seed {item_seed(0, 0, place)}, by results/default/models/base"
        in text
    )
    assert f"cluster {prompt['cluster']}, rank 1" in text

    selected = read_table(SELECTED, "selected")[0]
    for verdict in ("chosen", "rejected"):
        assert f"{verdict}: {selected[f'{verdict}_id']}" in text
        assert f"score {selected[f'{verdict}_score']:.3f} (mass 0.9900" in text
    for why in ("cut off", "empty", "echo of the prompt", "no score", "repeat of sample 4", ""):
        assert text.count(f"out: {why}") >= 1
    assert "sft-1 sample 1: no score, finish stop, out: no score" in text
    assert "other candidates: 6 (of 8 responses, 3 could be chosen" in text
    assert text.count("█") > 20 and "   10  0." in text
    _, records = text.split("records:")
    for rule in ("build_dataset", "select_responses", "sample_responses", "score_responses", "train_judge",
                 "gather_prompts",
                 "round_prompts", "unique_prompts", "drop_duplicates", "filter_prompts", "cluster_prompts",
                 "synthesize_prompts", "read_seeds",
                 "train_sft", "train_round", "base_model"):  # fmt: skip
        assert f"    {rule}" in records
    assert "| code " in records and "| commit " in records and "+00:00" in records


def test_json_holds_every_text_and_every_distribution(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    prompt_id = read_table(PREFERENCES, "preferences")[2]["prompt_id"]
    facts = json.loads(traced(capsys, PREFERENCES, "--id", prompt_id, "--json"))
    assert facts["row"] == 2 and set(facts["messages"]) == {"prompt", "chosen", "rejected"}
    found = {c["response_id"]: c for c in facts["candidates"]}
    assert len(found) == 8
    for name in fake_run.SAMPLED[3]:
        folder = f"results/default/rounds/3/samples/{name}/0-0.parquet"
        scores = read_table(folder.replace("samples", "scores"), "score")
        for row, score in zip(read_table(folder, "response"), scores, strict=True):
            if row["prompt_id"] == prompt_id:
                candidate = found[row["response_id"]]
                assert candidate.items() >= (row | score).items()
                assert candidate["models"] == [f"results/default/models/{name}"]
                assert candidate["judges"] == ["results/default/models/judge"]
    verdicts = {c["verdict"]: c["response_id"] for c in facts["candidates"]}
    assert verdicts["chosen"] == facts["selected"]["chosen_id"]
    assert verdicts["rejected"] == facts["selected"]["rejected_id"]
    assert facts["messages"]["rejected"][0]["content"] == found[verdicts["rejected"]]["response"]


def test_every_row_by_number_is_the_row_by_id(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    for number, row in enumerate(read_table(DATASET, "dataset")):
        by_number = traced(capsys, DATASET, "--row", number)
        assert traced(capsys, DATASET, "--id", row["prompt_id"]) == by_number
    full = traced(capsys, DATASET, "--row", 0, "--full")
    assert full.count("   10  0.") == 8


def test_a_row_of_round_1_leads_to_its_seed_row(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    path = "results/default/rounds/1/dataset.parquet"
    lines = [json.loads(line) for line in Path("data/sft.jsonl").read_text().splitlines()]
    for number, row in enumerate(read_table(path, "dataset")):
        line = lines.index({"prompt": user_text(row["prompt"]), "response": row["completion"][0]["content"]})
        text = traced(capsys, path, "--row", number)
        assert f"seed row: data/sft.jsonl: line {line + 1}\n" in text
        assert "build_sft_dataset" in text and "read_seeds" in text
    repeated = [row["prompt_id"] for row in read_table(path, "dataset")]
    twice = next(key for key in repeated if repeated.count(key) == 2)
    assert "pick one with --row" in traced(capsys, path, "--id", twice, status=1)


def test_an_edited_seed_file_is_told(home, capsys):
    path = "results/default/rounds/1/dataset.parquet"
    with open("data/sft.jsonl", "a") as handle:
        handle.write('{"prompt": "New", "response": "x"}\n')
    assert "! data/sft.jsonl was edited since it was read" in traced(capsys, path, "--row", 0)
    assert "data/sft.jsonl was edited since: used " in traced(capsys, path)
    Path("data/sft.jsonl").unlink()
    text = traced(capsys, path, "--row", 0)
    assert "seed row: not found" in text and "no longer there" in text


def test_artifacts_of_another_run_are_followed(tmp_path, monkeypatch, capsys):
    fake_run.write_recorded_run(tmp_path, "variant", shared="other")
    monkeypatch.chdir(tmp_path)
    assert not (tmp_path / "results/variant/seeds").exists()
    text = traced(capsys, "results/variant/rounds/2/dataset.parquet", "--row", 1)
    assert "written in results/other/prompts/raw/" in text and "results/other/models/sft-0" in text
    assert "(no longer among the seeds)" not in text and "rank 0" in text
    assert "results/other/models/base" in traced(capsys, "results/variant/models/round-3")
    flip(tmp_path / "results/other/prompts/raw/1.parquet")
    text = traced(capsys, "--check", "results/variant", status=1)
    assert "--force results/other/prompts/raw/1.parquet" in text and "1 damaged or missing" in text


def test_an_empty_table_has_no_row(tmp_path):
    write_table(tmp_path / PREFERENCES, "preferences", [])
    with pytest.raises(InputError, match="no row 0; rows: none, the table is empty"):
        training_row(tmp_path, PREFERENCES, 0, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([DATASET, "--row", 6], "no row 6; rows: 0 to 5"),
        ([DATASET, "--row", -1], "no row -1"),
        ([DATASET, "--id", "nobody"], "no row has the prompt id nobody"),
        ([SELECTED, "--row", 0], "not a training set"),
        (["results/default/models/sft-0", "--row", 0], "not a training set"),
        (["results/default/rounds/9/dataset.parquet", "--row", 0], "no such file or folder"),
        (["results/default"], "not a checkpoint"),
        (["results"], "not part of a run"),
        (["data/sft.jsonl"], "not part of a run"),
        (["--check", "results/none"], "no such file or folder"),
    ],
)
def test_what_cannot_be_traced_is_one_line(made, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(made)
    assert main([str(a) for a in arguments]) == 1
    done = capsys.readouterr()
    assert words in done.err and done.err.count("\n") == 1 and not done.out


def test_a_damaged_table_in_the_way_is_named(home, capsys):
    truncate(home / "results/default/rounds/3/scores/sft-0/0-0.parquet")
    text = traced(capsys, DATASET, "--row", 0, status=1)
    assert "scores/sft-0/0-0.parquet: it is cut short" in text and "rule score_responses" in text


def test_control_characters_of_a_model_never_reach_the_terminal():
    assert printable("a\x1b[2J\x07b\nc\td") == "a\\x1b[2J\\x07b\nc\td"


def test_reasons_follow_eligibility():
    row = {"response": "ok", "finish_reason": "stop", "score": 1.0}
    assert why_out("p", row) is None
    assert why_out("OK", row) == "echo of the prompt"
    assert why_out("p", row | {"finish_reason": "length", "score": None}) == "cut off"


# lineage


def test_a_checkpoint_leads_back_to_seed_file_and_base_model(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    text = traced(capsys, "results/default/models/round-3")
    assert text.startswith("[1] results/default/models/round-3\n")
    assert 'train_round index=round-3 | seed [0, "round", 3] | code ' in text
    assert sha256_of("results/default/models/round-3/model.safetensors")[:12] in text
    found = lineage(made, "results/default/models/round-3")
    for path in found:
        assert text.count(f"] {path}\n") == 1, path  # described once
    assert "results/default/models/base (see [2])" in text
    assert "training.epochs=2" in text and "given, not made by a rule | content " in text
    assert {f"results/default/models/{n}" for n in ("base", "sft-0", "sft-1", "judge", "round-2")} <= set(
        found
    )
    assert "data/sft.jsonl" in found and found["data/sft.jsonl"]["kind"] == "given"
    rounds = [path for path in found["results/default/models/round-3"]["from"] if "rounds" in path]
    assert [path.split("/")[3] for path in rounds] == ["1", "2", "3"]

    facts = json.loads(traced(capsys, "results/default/models/round-3", "--json"))
    assert facts["root"] == "results/default/models/round-3" and facts["artifacts"] == found
    # A file of the checkpoint stands for the checkpoint.
    assert traced(capsys, "results/default/models/round-3/config.json") == text


def test_what_was_made_again_since_is_told(home, capsys):
    assert "!" not in traced(capsys, "results/default/models/round-3")
    rows = read_table(DATASET, "dataset")
    write_table(DATASET, "dataset", rows[1:])
    record = read_record(DATASET)
    write_records("build_dataset", record["spec"], record["wildcards"], record["inputs"], [DATASET])
    assert f"! {DATASET} was made again since: used " in traced(capsys, "results/default/models/round-3")


def test_lost_records_end_a_branch_and_no_more(home, capsys):
    record_path(SELECTED).unlink()
    text = traced(capsys, "results/default/models/round-3")
    assert f"{SELECTED}\n" in text and "no record | content " in text
    assert "no record" in traced(capsys, SELECTED, status=1)
    assert "no record, so not checked: 1 files" in traced(capsys, "--check", "results/default")
    record_path(SELECTED).write_text("[]")
    assert "this record of provenance is damaged" in traced(capsys, "results/default/models/round-3")


def test_paths_are_found_from_anywhere(made, tmp_path, monkeypatch, capsys):
    expected = made, DATASET
    for folder, given_path in [
        (made, DATASET),
        (made / "data", DATASET),
        (made / "results/default/rounds", "3/dataset.parquet"),
        (made / "results/default/rounds/3", "./dataset.parquet"),
        (tmp_path, str(made / DATASET)),
    ]:
        monkeypatch.chdir(folder)
        assert locate(given_path) == expected
    inner = tmp_path / "results" / "study"
    shutil.copytree(made, inner)
    assert locate(str(inner / DATASET)) == (inner, DATASET)


def test_the_command_itself_runs_from_anywhere(made, tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(ROOT / "tools" / "trace"), str(made / "results/default/rounds/3/dataset.parquet")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"[1] {DATASET}\n") and not done.stderr


def test_round_10_comes_after_round_9():
    names = ["rounds/10/a", "rounds/9/a", "data/1"]
    assert sorted(names, key=natural_key) == ["data/1", "rounds/9/a", "rounds/10/a"]


# --check


@pytest.mark.parametrize(("damage", "words"), DAMAGES.items(), ids=lambda v: getattr(v, "__name__", None))
def test_check_finds_every_damage(home, capsys, damage, words):
    assert "none damaged or missing" in traced(capsys, "--check", "results/default")
    final = home / "results/default/models/round-3/model.safetensors"
    damage(home / PREFERENCES)
    damage(final)
    text = traced(capsys, "--check", "results/default", status=1)
    assert text.count(words) == 2 and text.endswith(", 2 damaged or missing\n")
    assert "made by   rule build_dataset (round=3, run=default)" in text
    assert f"rebuild   {rebuild_command([PREFERENCES])}" in text
    assert "rebuild   snakemake --cores all --force results/default/models/round-3/model.safetensors" in text
    facts = json.loads(traced(capsys, "--check", "results/default", "--json", status=1))
    assert {d["path"] for d in facts["damaged"]} == {str(final.relative_to(home)), PREFERENCES}


def test_check_of_a_part_looks_at_that_part(home, capsys):
    truncate(home / PREFERENCES)
    assert f"{len(MODEL_FILES)} files checked, none damaged" in traced(
        capsys, "--check", "results/default/models/round-3"
    )
    assert "1 files checked, none damaged" in traced(capsys, "--check", DATASET)
    traced(capsys, "--check", "results/default/rounds/3", status=1)
