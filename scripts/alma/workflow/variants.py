"""Which run makes an artifact: a variant takes what is the same from the run that it inherits from.

Two artifacts of the same place in two runs are the same if the same rule makes them with the same
spec (config, code, seeds) from the same inputs, all the way back. Nothing lists which config key
concerns which stage: the rules are asked for their own params and inputs, so a new rule or key can
not be forgotten here.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from alma.workflow.storage import folder_of_rule, output_path


class Sharing:
    """Answers `source(path)` for the runs of one config.

    Args:
        workflow: Snakemake's workflow, whose rules have the param `spec` and input functions with
            the attribute `own` (`from_run` in rules/common.smk).
        parents: {name of a variant: the run that it inherits from}.
        results_of: the files that a run is for; all that they need belongs to the run.
    """

    def __init__(
        self, workflow: Any, parents: dict[str, str], results_of: Callable[[str], list[str]]
    ) -> None:
        self._workflow, self._parents, self._results_of = workflow, parents, results_of
        self._signatures: dict[str, str] = {}
        self._artifacts: dict[str, set[str]] = {}
        self._made_by: dict[str, tuple[Any, Any] | None] = {}
        self._rules: dict[str, dict[Any, int]] = {}

    def source(self, path: str) -> str:
        """The path under which an artifact of a run lies: its own, or that of a run before it."""
        top, run, place = path.split("/", 2)
        ancestors = []
        while run in self._parents:
            run = self._parents[run]
            ancestors.append(run)
        for ancestor in reversed(ancestors):
            theirs = f"{top}/{ancestor}/{place}"
            if theirs in self.artifacts(ancestor) and self.signature(theirs) == self.signature(path):
                return theirs
        return path

    def signature(self, path: str) -> str:
        """Hash of all that decides an artifact's content; a file that no rule makes is its path."""
        if path not in self._signatures:
            made = self._rule_of(path)
            if made is None:
                self._signatures[path] = path
            else:
                rule, w = made
                names = {key: value for key, value in w.items() if key != "run"}
                inputs = [self.signature(item) for item in self._inputs(rule, w)]
                facts = [rule.name, path.split("/", 2)[2], names, rule.params.spec(w), inputs]
                self._signatures[path] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return self._signatures[path]

    def artifacts(self, run: str) -> set[str]:
        """Every artifact that a run needs, and what the same jobs make beside it, by path.

        Paths are those of the run's own folder. Records of provenance are no artifacts: a lost one is no
        reason to train again.
        """
        if run not in self._artifacts:
            todo = list(self._results_of(run))
            found: set[str] = set()
            while todo:
                path = todo.pop()
                made = self._rule_of(path)
                if path in found or made is None:
                    continue
                rule, w = made
                outputs = [output_path(output, w) for output in rule.output]
                found.update(output for output in outputs if not output.endswith("/provenance.json"))
                todo.extend(self._inputs(rule, w))
            self._artifacts[run] = found
        return self._artifacts[run]

    def _rule_of(self, path: str) -> tuple[Any, Any] | None:
        """Rule and wildcards that make a path, None where no rule of a run does.

        Snakemake's own index of the plan is asked, which the plan asks for the same paths.
        """
        if path not in self._made_by:
            from snakemake.iocontainers import Wildcards

            index = self._workflow.dag.output_index
            makers = [
                (places[rule], rule, folder + path)
                for folder, places in self._folders().items()
                for rule in index.match_producers(folder + path)
                if rule in places
            ]
            if makers:
                _, rule, place = min(makers, key=lambda maker: maker[0])
                self._made_by[path] = rule, Wildcards(fromdict=rule.get_wildcards(place))
            else:
                self._made_by[path] = None
        return self._made_by[path]

    def _folders(self) -> dict[str, dict[Any, int]]:
        """{what Snakemake puts before the paths of outputs: {rule of a run: its place among the rules}}."""
        if not self._rules:
            for place, rule in enumerate(self._workflow.rules):
                if hasattr(rule.params, "spec"):
                    self._rules.setdefault(folder_of_rule(rule.output[0]), {})[rule] = place
        return self._rules

    @staticmethod
    def _inputs(rule: Any, w: Any) -> list[str]:
        """Inputs of a rule as paths of the job's own run."""
        found: list[str] = []
        for item in rule.input:
            function = getattr(item, "own", item)
            paths = function(w) if callable(function) else item
            found += [paths] if isinstance(paths, str) else list(paths)
        return [str(path) for path in found]
