"""Results in a storage: paths of local copies, and a run against a real S3 server (moto) on loopback.

`make test-services` makes the environment of the latter (envs/s3.sh) and runs it.
"""

import json
import os
import subprocess

import pytest
from fast_run import FastRun, planned

from alma.trace.provenance import check_inputs, write_records
from alma.workflow import storage
from alma.workflow.config import ROOT

COPIES = ".snakemake/storage/s3/bucket/"
PYTHON = ROOT / ".venv-s3" / "bin" / "python"
BUCKET = "s3://bucket"
SERVER = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
LIST = """
import boto3
print(*(item.key for item in boto3.resource("s3").Bucket("bucket").objects.all()), sep="\\n")
"""


class Output(str):
    """An output of a rule as Snakemake has it."""

    def apply_wildcards(self, wildcards):
        return Output(self.replace("{run,a|b}", wildcards["run"]).replace("{run}", wildcards["run"]))


@pytest.mark.parametrize("folder", ["", COPIES, "results/s3/results/"])
def test_a_path_of_a_run_is_found_behind_any_folder(folder):
    for pattern in ("results/{run}/seeds/sft.parquet", "results/{run,a|b}/seeds/sft.parquet"):
        output = Output(folder + pattern)
        assert storage.folder_of_rule(output) == folder
        assert storage.output_path(output, {"run": "a"}) == "results/a/seeds/sft.parquet"
    assert storage.folder_of_job(f"{folder}results/a/logs/x.log", "a") == folder
    paths = [f"{folder}results/a/x.csv", f"{folder}results/b/y.csv"]
    assert storage.split_inputs(paths, folder) == (["results/a/x.csv", "results/b/y.csv"], [])


def test_files_of_this_machine_are_told_from_those_of_the_storage():
    paths = ["data/sft.jsonl", f"{COPIES}results/a/x.csv"]
    assert storage.split_inputs(paths, COPIES) == (["results/a/x.csv"], ["data/sft.jsonl"])


def test_a_job_of_no_run_has_no_folder():
    assert storage.folder_of_job("logs/x.log", None) == ""


def test_records_lie_beside_the_local_copies_and_name_the_paths_of_the_run(tmp_path):
    home, path = tmp_path / COPIES, "results/a/seeds/sft.parquet"
    (home / path).parent.mkdir(parents=True)
    (home / path).write_text("rows")
    spec = {"script": "x.py", "code": "c", "threads": 1, "config": {}}
    write_records("read_seeds", spec, {"run": "a"}, {"data/sft.jsonl": "0"}, [path], home=home)
    record = json.loads((home / "results/a/provenance/seeds/sft.parquet.json").read_text())
    assert list(record["outputs"]) == ["sft.parquet"]
    assert check_inputs([path], home) == {path: record["outputs"]["sft.parquet"]["sha256"]}


@pytest.fixture
def server():
    """Environment of commands that use an empty S3 server on loopback."""
    process = subprocess.Popen(
        [str(PYTHON), "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "NO_PROXY": "127.0.0.1"}
        keys |= {"AWS_ENDPOINT_URL": address, "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": address}
        yield os.environ | keys | {"AWS_DEFAULT_REGION": "us-east-1"}
    finally:
        process.kill()
        process.wait()


@pytest.mark.services
@pytest.mark.slow
def test_a_run_keeps_its_results_on_s3(tmp_path, server):
    run = FastRun.make(tmp_path / "run")
    base = [f"results/small/models/base/{name}" for name in ("model.safetensors", "provenance.json")]
    table = "results/small/rounds/1/dataset.parquet"

    def snakemake(*targets):
        options = ["--default-storage-provider", "s3", "--default-storage-prefix", BUCKET]
        command = run.command(*options, cores=1)[1:]
        done = subprocess.run(
            [str(PYTHON), *command, "--", *targets],
            cwd=run.folder,
            env=server,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout + done.stderr

    printed = snakemake(base[0], table)
    assert planned(printed) == {"read_seeds": 1, "base_model": 1, "build_sft_dataset": 1}
    assert f"{BUCKET}/results/small/" in printed
    keys = subprocess.run([str(PYTHON), "-c", LIST], env=server, capture_output=True, text=True, check=True)
    assert {*base, table, "results/small/logs/read_seeds.log"} <= set(keys.stdout.split())
    assert not (run.folder / "results").exists()
    records = run.folder / COPIES / "results/small/provenance"
    record = json.loads((records / "rounds/1/dataset.parquet.json").read_text())
    assert list(record["inputs"]) == ["results/small/seeds/sft.parquet"]
    assert not planned(snakemake(base[0], table)), "a second run makes nothing again"
