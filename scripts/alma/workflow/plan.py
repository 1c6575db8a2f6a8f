"""The jobs of the workflow as Snakemake plans them today, for commands that look at a run from outside.

Snakemake's public interface ends before its jobs, so a few of its inner parts are used (as in PyPSA-Eur's
`mock_snakemake`). Where a version has them under other names the command ends with a message.
"""

import ast
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.trace.lineage import split
from alma.workflow.config import ROOT
from alma.workflow.run_lock import release

EVERYTHING = ("all", "variants", "ablations")  # the targets that reach every job of a config


def place_in_run(path: str) -> tuple[Path, str]:
    """(folder that holds results/, path from there) of a path that a user gave.

    Raises:
        InputError: it is not part of a run.
    """
    place = split(Path(os.path.abspath(path)))
    if place is None:
        raise InputError(f"{path}: not part of a run (no folder `results` is above it)")
    return place


@contextlib.contextmanager
def plan(
    home: Path, path: str, configfiles: Sequence[str] = (), targets: Sequence[str] = ()
) -> Iterator[Any]:
    """Snakemake's DAG of the jobs that `path` may come from; the working directory is `home` meanwhile.

    Args:
        home: the folder that holds results/.
        path: from there, an artifact, a checkpoint's folder, a log, or a folder of a run.
        configfiles: as given to `snakemake --configfile`; none means the embedded demonstration.
        targets: of Snakemake, in the place of those that make `path`.

    Raises:
        InputError: the config, the rules or the path are refused, with Snakemake's own message.
    """
    from snakemake import api
    from snakemake.common import __version__
    from snakemake.exceptions import MissingRuleException, RuleException, WorkflowError
    from snakemake.settings import types

    given = [Path(os.path.abspath(name)) for name in configfiles]
    missing = [str(name) for name in given if not name.is_file()]
    if missing:
        raise InputError(f"--configfile: no such file: {', '.join(missing)}")
    output = types.OutputSettings(quiet={types.Quietness.ALL}, enable_file_logging=False)
    with contextlib.ExitStack() as stack:
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                snakemake = stack.enter_context(api.SnakemakeApi(output))
                workflow_api = snakemake.workflow(
                    resource_settings=types.ResourceSettings(cores=1_000_000),  # threads as the rules say
                    config_settings=types.ConfigSettings(configfiles=given),
                    snakefile=ROOT / "Snakefile",
                    workdir=home,
                )
                workflow_api.dag(types.DAGSettings(targets=frozenset(targets) or _targets(path)))
                workflow = workflow_api._workflow
                workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=False)
                workflow._build_dag()
                dag = workflow.dag
        except MissingRuleException as error:
            raise InputError(
                f"{path}: no job of this config makes it (add the --configfile of its run)"
            ) from error
        except (WorkflowError, RuleException) as error:
            raise InputError(_message(error)) from error
        except (AttributeError, TypeError) as error:
            raise InputError(f"Snakemake {__version__} does not fit this command ({error})") from error
        finally:
            release()
        yield dag


def _targets(path: str) -> frozenset[str]:
    """What has to be planned for a path: the file itself where a rule makes it, else everything."""
    parts = Path(path).parts
    if len(parts) == 4 and parts[2] == "models":
        return frozenset([f"{path.rstrip('/')}/config.json"])
    if len(parts) > 3 and parts[2] not in ("logs", "benchmarks", "provenance") and Path(path).suffix:
        return frozenset([path])
    return frozenset(EVERYTHING)


def _message(error: BaseException) -> str:
    """What a Snakemake error says, without its traceback."""
    while error.__cause__ is not None and not isinstance(error.__cause__, OSError):
        error = error.__cause__
    return str(error) or type(error).__name__


def makes(job: Any, path: str) -> bool:
    """Whether a job makes (or logs to) a file, or a file in a folder."""
    names = [str(name) for name in (*job.output, *job.log)]
    return any(name == path or name.startswith(f"{path.rstrip('/')}/") for name in names)


def spec_of(job: Any) -> dict[str, Any] | None:
    """The `spec` of a job as it is today; None for a rule without one (a target)."""
    text = getattr(job.params, "spec", None)
    return None if text is None else json.loads(text)


def title(job: Any) -> str:
    """Rule and wildcards: "select_responses (round=2, shard=0)"."""
    names = ", ".join(f"{key}={value}" for key, value in job.wildcards_dict.items() if key != "run")
    return f"{job.rule.name} ({names})" if names else job.rule.name


# what Snakemake recorded of a finished job


def recorded_spec(persistence: Any, output: Any) -> dict[str, Any] | None:
    """The `spec` that Snakemake recorded for an output; None where it recorded none."""
    for text in persistence.params(output) or []:
        with contextlib.suppress(ValueError, SyntaxError, TypeError):
            found = json.loads(ast.literal_eval(text))
            if isinstance(found, dict) and "code" in found:
                return found
    return None


def differences(old: Any, new: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """{dotted key: (value in old, value in new)} of two specs, for each value that is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in sorted({*old, *new}):
            inner = f"{key}.{name}" if key else name
            found |= differences(old.get(name), new.get(name), inner)
        return found
    return {} if old == new else {key: (old, new)}
