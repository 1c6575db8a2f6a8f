"""The annotation loop with the real Label Studio: import, annotate, export, train a judge on what was said.

`make test-services` makes its environment (envs/label_studio.sh) and runs this.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

import choose_annotation
import pytest
import read_seeds
import train_judge_seed
from test_annotation import PROMPTS, RULE, some_rows, write_run
from test_seeds import EVAL, SFT, write

from alma.csv_tables import read_csv_table
from alma.label_import import import_files
from alma.tables import read_table
from alma.workflow.config import ROOT

pytestmark = [pytest.mark.services, pytest.mark.slow]

PROGRAM = ROOT / ".venv-label-studio" / "bin" / "label-studio"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
# How long its first start may take: it makes its database, some hundred migrations.
PATIENCE = 900


class LabelStudio:
    """A server on loopback with one user."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        given = ["--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        given += [
            "--data-dir",
            str(folder / "data"),
            "--username",
            "ann@example.org",
            "--password",
            "not-a-secret",
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "LABEL_STUDIO"))}
        environment |= {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "COLLECT_ANALYTICS": "false"}
        environment |= {"LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
        self.log = folder / "label-studio.log"
        with self.log.open("w") as handle:
            self.process = subprocess.Popen(
                [str(PROGRAM), "start", *given, "--user-token", TOKEN],
                cwd=folder,
                env=environment,
                stdout=handle,
                stderr=subprocess.STDOUT,
            )

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())

    def wait(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.call("GET", "projects/")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < end, "the server did not answer"
                time.sleep(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    assert PROGRAM.exists(), "bash envs/label_studio.sh makes its environment"
    made = LabelStudio(tmp_path_factory.mktemp("label-studio"))
    try:
        made.wait()
        yield made
    finally:
        made.process.terminate()
        made.process.wait(60)


def rated(letter, value):
    value = {"choices": [value]}
    return {
        "from_name": f"score_{letter}",
        "to_name": f"response_{letter}",
        "type": "choices",
        "value": value,
    }


@pytest.mark.timeout(1800)
def test_from_the_tasks_to_a_judge(server, tiny_checkpoint, tmp_path):
    from test_training import TRAINING

    choose_annotation.main(*write_run(tmp_path, PROMPTS, some_rows()), **RULE)
    asked = {
        (row["task"], row["letter"].lower()): row
        for row in read_csv_table(tmp_path / "tasks.csv", "annotation")
    }
    project = server.call(
        "POST",
        "projects/",
        {
            "title": "alma",
            "label_config": (tmp_path / "label_studio.xml").read_text(),
            "expert_instruction": (tmp_path / "instructions.html").read_text(),
            "show_instruction": True,
        },
    )
    assert set(project["parsed_label_config"]) == {"score_a", "score_b"}
    ratings = project["parsed_label_config"]["score_a"]["labels"]
    assert sorted(ratings, key=int) == [str(k) for k in range(11)]
    place = f"projects/{project['id']}"
    imported = server.call("POST", f"{place}/import", json.loads((tmp_path / "tasks.json").read_text()))
    assert imported["task_count"] == 3

    # Two people rate the first two tasks, one of them changes her mind; the third is skipped.
    tasks = server.call("GET", f"tasks?project={project['id']}&fields=all")["tasks"]
    tasks = {task["data"]["task"]: task["id"] for task in tasks}
    other = server.call("POST", "users/", {"email": "ben@example.org", "username": "ben"})["id"]
    scores = {
        (1, 1): ("8", "2"),
        (1, other): ("9", "1 extremely poor"),
        (2, 1): ("3", "0"),
        (2, other): ("4", "10"),
    }
    for (task, who), (a, b) in scores.items():
        given = {"result": [rated("a", a), rated("b", b)], "lead_time": 30, "completed_by": who}
        made = server.call("POST", f"tasks/{tasks[task]}/annotations/", given)
        assert made["completed_by"] == who
        if (task, who) == (2, other):
            server.call("PATCH", f"annotations/{made['id']}/", {"result": [rated("a", a), rated("b", "5")]})
    server.call("POST", f"tasks/{tasks[3]}/annotations/", {"result": [], "was_cancelled": True})

    exported = server.call("GET", f"{place}/export?exportType=JSON")
    (tmp_path / "export.json").write_text(json.dumps(exported))
    report = import_files([tmp_path / "export.json"], tmp_path / "annotations.jsonl")
    found = [json.loads(line) for line in (tmp_path / "annotations.jsonl").read_text().splitlines()]
    expected = {
        (asked[task, letter]["prompt"], asked[task, letter]["response"], f"user-{who}"): score
        for (task, who), both in {
            (1, 1): (8, 2), (1, other): (9, 1), (2, 1): (3, 0), (2, other): (4, 5)
        }.items()
        for letter, score in zip("ab", both, strict=True)
    }  # fmt: skip
    assert {(row["prompt"], row["response"], row["annotator"]): row["score"] for row in found} == expected
    assert "8 labels of 4 responses to 2 prompts, by 2 annotators; 2 not rated" in report
    assert "on 4 responses with 8 labels" in report
    assert "2 labels 4 or more from the mean of the others'" in report

    labels = [{"prompt": f"Count to {i}.", "response": "1, 2", "score": i} for i in range(4)]
    names = ("sft", "judge", "heldout", "pairs", "eval", "turns", "prompts")
    tables = [tmp_path / f"seeds-{name}.parquet" for name in names]
    read_seeds.main(
        *tables,
        seed=0,
        sft=write(tmp_path / "sft.jsonl", SFT),
        judge=write(tmp_path / "judge.jsonl", labels),
        scale=[0, 10],
        heldout_fraction=0.3,
        judge_benchmark=None,
        benchmarks={"mine": write(tmp_path / "eval.jsonl", EVAL)},
        annotations=[str(tmp_path / "annotations.jsonl")],
        max_bad_rows=0,
    )
    training = read_table(tables[1], "judge")
    assert sum(row["prompt"] in PROMPTS for row in training) == 4, "of two annotated prompts one is held out"
    train_judge_seed.main(
        tiny_checkpoint,
        tables[1],
        tmp_path / "judge-seed",
        tmp_path / "curve.csv",
        seed=[0, "judge-seed"],
        device="cpu",
        training=TRAINING | {"max_length": 400, "save_steps": 100},
        loss={"ranking": 1.0, "squared_error": 0.0},
        balance="none",
    )
    assert (tmp_path / "judge-seed" / "model.safetensors").exists()
    assert read_csv_table(tmp_path / "curve.csv", "training_curve")
