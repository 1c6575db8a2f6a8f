"""UltraFeedback: prompts with four responses of other models, rated by a model."""

from collections.abc import Iterable

from alma.label_sets.item import Answer, Dropped, Item, Read, asked, scaled, with_instances
from alma.seed_formats import Row


def ultrafeedback(rows: Iterable[Row]) -> Read:
    """instruction, completions (list of {response, fine-grained_score, ...}), source.

    The score is the fine-grained one, a mean of four ratings from 1 to 5; 1 is 0 and 5 is 10. overall_score
    is not read: about 2,000 of the critic's ratings of 1 stand there as 10 (OpenBMB/UltraFeedback issue 8).
    """
    for row, completions in with_instances(rows, "completions"):
        answers = []
        for completion in completions:
            values = completion if isinstance(completion, dict) else {}
            score = scaled(values.get("fine-grained_score"), 1, 5)
            if score is None:
                yield Dropped(row.where, "a completion without a fine-grained score from 1 to 5")
            else:
                answers.append(Answer(values.get("response"), (score,)))
        if answers:
            yield Item(row.where, asked(row.values.get("instruction")), answers, row.values.get("source"))
        elif not completions:
            yield Dropped(row.where, "no completions")
