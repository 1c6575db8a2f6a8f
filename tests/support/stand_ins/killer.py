# Only in the copy that the fault tests run: end a job in the middle of a write.
# TEST_KILL is script:n for that script's n-th write; each:n takes the first job of every script once.
# The first part of an engine's answers is let through and does not count.
import signal
import sys

_whole_path, _writes = atomic_path, []


def _meant(script):
    if script != "each":
        return sys.argv[0].endswith(f".{script}.py")
    mark = Path("killed") / sys.argv[0].split(".")[-2]
    if mark.exists():
        return False
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    return True


@contextmanager
def atomic_path(path):
    with _whole_path(path) as temporary:
        yield temporary
        script, _, write = os.environ.get("TEST_KILL", "").partition(":")
        first_part = Path(path).parent.parent.name == ".parts" and Path(path).name.startswith("1-0-")
        if script and ".snakemake" in sys.argv[0] and not first_part:
            _writes.append(path)
            if len(_writes) == int(write) and _meant(script):
                os.truncate(temporary, temporary.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
