"""Make Snakemake's planning of many jobs cheaper, with the same plan.

`install` has Snakemake remember two things that it works out anew for every job and that do not change while
it plans: which rules make a path (the files of a checkpoint are inputs of thousands of jobs), and which
arguments a function of a rule takes. And Python's garbage collector looks less often at the objects of the
plan, of which hardly any is garbage.

Snakemake has no hook for this, so two of its functions are wrapped; where this Snakemake has none that fits,
it is left as it is. Standard library only: the Snakefile calls this.
"""

import functools
import gc
import types
from collections.abc import Callable
from typing import Any

_OBJECTS = 50_000  # that are new before the collector looks at them; Python's own number is 700


def install() -> bool:
    """Wrap the functions, once per process; False where this Snakemake has none that fit."""
    gc.set_threshold(_OBJECTS)
    try:
        from snakemake import common, rules
        from snakemake.output_index import OutputIndex
    except ImportError:
        return False
    if getattr(OutputIndex, "alma_planning", False):
        return True
    used = (OutputIndex, "match_producers"), (common, "get_function_params"), (rules, "get_function_params")
    if not all(hasattr(place, name) for place, name in used):
        return False
    arguments = _once_per_function(common.get_function_params)
    OutputIndex.match_producers = _remembered(OutputIndex.match_producers)
    common.get_function_params = rules.get_function_params = arguments
    OutputIndex.alma_planning = True
    return True


def _remembered(match: Callable[[Any, str], set[Any]]) -> Callable[[Any, str], set[Any]]:
    """`OutputIndex.match_producers`; an index does not change: rules that come later get another one."""

    @functools.wraps(match)
    def match_producers(self: Any, targetfile: str) -> set[Any]:
        known = self.__dict__.setdefault("alma_known", {})
        path = str(targetfile)
        if path not in known:
            known[path] = match(self, path)
        found: set[Any] = known[path]
        return found

    return match_producers


def _once_per_function(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`get_function_params`; what is no plain function (a string that carries one) is asked anew."""
    known = functools.lru_cache(maxsize=4096)(ask)

    @functools.wraps(ask)
    def arguments(func: Any) -> Any:
        return known(func) if isinstance(func, types.FunctionType) else ask(func)

    return arguments
