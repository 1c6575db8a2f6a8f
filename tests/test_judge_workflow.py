"""The whole workflow with judges that training never used: what they add to a finished run."""

import json

import pytest
from fake_endpoint import KEY, fake_endpoint
from fast_run import merged

from alma.csv_tables import read_csv_table

pytestmark = pytest.mark.slow

# What reads evaluation/summary.csv, which has more rows.
READERS = {"summarize_evaluation", "plot_progress", "verdict", "render_report"}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    with fake_endpoint() as endpoint:
        yield endpoint


def judges(server, **more):
    judge = {"kind": "api", "model": "m", "base_url": server.url, "api_key_env": "TEST_KEY", "max_retries": 1}
    return {"evaluation": {"judges": {"gpt": judge | more}}}


def jobs(*writers):
    return {f"judge_with_api/gpt-{writer}-everyday" for writer in writers}


def test_a_judge_judges_what_is_finished_and_makes_nothing_again(finished_run, tmp_path, server):
    run = finished_run.copy(tmp_path / "run")
    assert not [name for name in run.artifacts() if "judges" in name], "none is asked where none is named"
    small = run.config

    # A wrong key ends the run before a response is judged, and is in no file.
    run.config = merged(small, judges(server))
    done = run.run(TEST_KEY="sk-wrong-secret")
    assert done.returncode != 0
    log = run.path("logs/probe_judge/gpt.log").read_text()
    assert "evaluation.judges.gpt: " in log and "HTTP 401" in log and "TEST_KEY" in log
    assert not list(run.path("evaluation").glob("judges/api/**/*.parquet"))

    _, ran, _ = run.update()
    names = {name.split("/", 1)[1] for name in ran}
    assert names == jobs("base", "round-2", "round-3") | READERS | {"probe_judge/gpt", "judge_costs"}
    rows = read_csv_table(run.path("evaluation/summary.csv"), "summary")
    found = {row["checkpoint"]: row for row in rows if row["judge"] == "gpt"}
    assert list(found) == ["base", "round-2", "round-3"] and found["round-3"]["games"] == 6
    assert found["round-3"]["reference"] == "sft-0" and found["round-3"]["vs_before_win"] is not None
    asked = len(server.asked)

    # What decides no answer asks for none; another price counts again, and another question asks again.
    run.config = merged(small, judges(server, concurrency=2, max_unreadable=0.3, timeout=9))
    assert run.update()[1] == set()
    run.config = merged(small, judges(server, price={"input": 1, "output": 2}))
    assert run.update()[1] == {"small/judge_costs"}
    assert len(server.asked) == asked
    costs = read_csv_table(run.path("tables/judge_costs.csv"), "judge_costs")
    assert costs[-1]["cost"] == pytest.approx(costs[-1]["questions"] * (100 + 2 * 10) / 1e6)
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in (content := path.read_bytes()) and b"wrong-secret" not in content, path

    # Against a file of outputs sft-0 is judged too; one checkpoint alone is asked about where it is named.
    prompts = [json.loads(line)["prompt"] for line in (run.folder / "data/eval.jsonl").open()]
    rows = [json.dumps({"prompt": prompt, "response": "Fine."}) for prompt in prompts]
    (run.folder / "outputs.jsonl").write_text("\n".join(rows) + "\n")
    more = merged(
        judges(server, checkpoints=["sft-0", "final"]), {"evaluation": {"reference": "outputs.jsonl"}}
    )
    run.config = merged(small, more)
    _, ran, _ = run.update()
    names = {name.split("/", 1)[1] for name in ran}
    assert names == jobs("sft-0", "round-3") | READERS | {"read_reference/everyday", "judge_costs"}
