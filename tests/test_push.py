"""tools/push: the files of a hub repository, and nothing uploaded unless a repository is named."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from alma import hub_repository, push
from alma.checkpoints import MODEL_FILES
from alma.errors import InputError
from alma.files import sha256_of
from alma.workflow.config import ROOT


@pytest.fixture
def run(tmp_path):
    """A run of three rounds with two published checkpoints, their cards, and what is not to be published."""
    root = tmp_path / "results" / "mine"
    (root / "cards").mkdir(parents=True)
    for name in ("round-2", "round-3", "judge"):
        folder = root / "models" / name
        folder.mkdir(parents=True)
        for file in MODEL_FILES[:-1]:
            (folder / file).write_text(f"{file} of {name}")
        sums = "".join(f"{sha256_of(folder / file)}  {file}\n" for file in MODEL_FILES[:-1])
        (folder / "SHA256SUMS").write_text(sums)
        (folder / "provenance.json").write_text("{}")
        (folder / "optimizer.pt").write_text("a pickle")
        (root / "cards" / f"{name}.md").write_text(f"card, {sha256_of(folder / 'model.safetensors')}")
    hashes = []
    for round_ in (1, 2, 3):
        (root / "rounds" / str(round_)).mkdir(parents=True)
        for table in hub_repository.DATA.values():
            path = root / "rounds" / str(round_) / table
            path.write_text(f"{table} {round_}")
            hashes.append(sha256_of(path))
    (root / "cards" / "data.md").write_text("\n".join(["to be stated before", *hashes]))
    return root


MODEL = {"README.md", *MODEL_FILES, "provenance.json"}
DATA = {"README.md", *(f"{kind}/round-{r}.parquet" for kind in ("chosen", "preferences") for r in (2, 3))}


def inside(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch):
    """Stands for the hub; the calls that were made."""
    import huggingface_hub

    calls = []

    class Api:
        def whoami(self):
            calls.append("whoami")

        def create_repo(self, name, **options):
            calls.append(("create_repo", name, options))
            return f"https://hub/{name}"

        def create_commit(self, name, operations, **options):
            calls.append(("create_commit", name, [o.path_in_repo for o in operations], options["repo_type"]))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return calls


@pytest.mark.parametrize("more", [[], ["--repo", "me/mine", "--dry-run"], ["--folder", "out", "--dry-run"]])
def test_without_a_place_or_with_dry_run_the_tree_is_all(run, hub, capsys, monkeypatch, more):
    monkeypatch.chdir(run.parents[1])
    before = inside(run.parents[1])
    assert push.main(["results/mine", *more]) == 0
    shown = capsys.readouterr().out
    assert "model repository, of results/mine/models/round-3:" in shown
    assert all(f"  {name} " in shown for name in MODEL) and "optimizer" not in shown
    assert f"{len(MODEL)} files" in shown and "nothing was written or uploaded" in shown
    assert not hub and inside(run.parents[1]) == before


def test_a_folder_is_laid_out_as_a_repository(run, tmp_path, capsys):
    assert push.main([str(run), "--checkpoint", "judge", "--folder", str(tmp_path / "out/judge")]) == 0
    assert inside(tmp_path / "out" / "judge") == MODEL
    assert (tmp_path / "out/judge/config.json").read_text() == "config.json of judge"
    assert push.main([str(run), "--folder", str(tmp_path / "out/judge")]) == 1
    assert "is not empty; expected a new folder" in capsys.readouterr().err
    assert (tmp_path / "out/judge/config.json").read_text() == "config.json of judge"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["judge"]


def test_the_data_are_those_of_the_rounds_and_never_the_labels(run, tmp_path, capsys):
    assert push.main([str(run), "--data", "--folder", str(tmp_path / "data")]) == 0
    assert inside(tmp_path / "data") == DATA
    assert "license that is not stated" in capsys.readouterr().out


def test_an_upload_makes_a_private_repository_and_one_commit(run, hub, capsys):
    assert push.main([str(run), "--repo", "me/mine"]) == 0
    made, committed = hub[1:]
    assert made == ("create_repo", "me/mine", {"repo_type": "model", "private": True, "exist_ok": True})
    assert committed[1] == "me/mine" and set(committed[2]) == MODEL and committed[3] == "model"
    assert "uploaded: https://hub/me/mine" in capsys.readouterr().out
    assert push.main([str(run), "--data", "--repo", "me/data", "--public"]) == 0
    assert hub[4][2] == {"repo_type": "dataset", "private": False, "exist_ok": True}
    assert set(hub[5][2]) == DATA


def test_without_a_token_the_message_says_how_to_log_in(run, monkeypatch, capsys):
    from huggingface_hub.errors import LocalTokenNotFoundError

    def refuse():
        raise LocalTokenNotFoundError("no token")

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(whoami=refuse))
    assert push.main([str(run), "--repo", "me/mine"]) == 1
    assert "error: --repo: the hub needs a token; log in (.venv/bin/hf auth login)" in capsys.readouterr().err


def test_a_hub_that_cannot_be_reached_is_a_message(run, monkeypatch, capsys):
    import huggingface_hub
    from httpx2 import ConnectError

    def refuse():
        raise ConnectError("no such name")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(whoami=refuse))
    assert push.main([str(run), "--repo", "me/mine"]) == 1
    assert "error: --repo: me/mine was not uploaded (no such name)" in capsys.readouterr().err


def test_damage_and_another_cards_weights_are_refused(run, capsys):
    (run / "models/round-3/config.json").write_text("other")
    with pytest.raises(InputError, match=r"round-3/config\.json: has other bytes than SHA256SUMS says"):
        hub_repository.model_repository(run, "round-3")
    (run / "cards/round-2.md").write_text("of other weights")
    with pytest.raises(InputError, match=r"(?s)round-2\.md: make them with: .* of other bytes"):
        hub_repository.model_repository(run, "round-2")
    (run / "models/judge/tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"not a complete checkpoint, tokenizer\.json missing"):
        hub_repository.model_repository(run, "judge")
    (run / "rounds/2/dataset.parquet").write_text("other")
    with pytest.raises(InputError, match=r"chosen/round-2\.parquet: the card is of other bytes"):
        hub_repository.data_repository(run)
    for card in (run / "cards").iterdir():
        card.unlink()
    for arguments in (["--checkpoint", "sft-0"], [], ["--data"]):
        assert push.main([str(run), *arguments]) == 1
    told = capsys.readouterr().err
    assert "not a complete checkpoint" in told and "snakemake --cores all cards" in told


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--repo", "mine"], "OWNER/NAME"), (["--public"], "--repo")]
)
def test_a_wrong_command_line_is_refused(run, arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        push.main([str(run), *arguments])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_the_command_runs(run):
    command = [sys.executable, str(ROOT / "tools" / "push"), str(run)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "README.md" in done.stdout, done.stderr
    done = subprocess.run([*command[:2], "nowhere"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: nowhere: not the folder of a run")
