# Only in the copy that the fault tests run: end the job named in TEST_KILL in the middle of a write.
import signal
import sys

_whole_path, _writes = atomic_path, []


@contextmanager
def atomic_path(path):
    with _whole_path(path) as temporary:
        yield temporary
        script, _, write = os.environ.get("TEST_KILL", "").partition(":")
        if script and sys.argv[0].endswith(f".{script}.py"):
            _writes.append(path)
            if len(_writes) == int(write):
                os.truncate(temporary, temporary.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
