"""Training examples as token ids, and the batches that a trainer makes of them.

The three rules here are easy to get wrong in silence, so they are checked for every example before
training starts: the prompt's ids are the start of the whole example's, the loss is taken on exactly
the completion, and the last token of the loss ends the sequence.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from alma.chat_template import prompt_ids, render, token_ids
from alma.errors import InputError

IGNORED = -100  # label of a token that is not in the loss (torch's cross entropy skips it)


def completion_ids(
    tokenizer: Any,
    prompt: list[dict[str, str]],
    completion: list[dict[str, str]],
    stop_ids: list[int],
) -> tuple[list[int], list[int]]:
    """Token ids of a prompt, as sampling renders it, and of the completion that follows it.

    The completion ends with its end-of-sequence token. What a template writes after that token (a
    line break in ChatML) is left out: generation stops at the token, so nothing after it is ever
    generated. A template that writes no end-of-sequence token after the answer gets one.

    Args:
        tokenizer: transformers tokenizer of the checkpoint, with its chat template.
        prompt: turns before the completion, the last one the user's.
        completion: the assistant's turn.
        stop_ids: every end-of-sequence id that the model declares, the tokenizer's own first.

    Raises:
        InputError: the template does not render the prompt to the start of the whole example; the
            model would be trained on other contexts than those that it meets in sampling.
    """
    before = prompt_ids(tokenizer, prompt)
    start = render(tokenizer, prompt, add_generation_prompt=True)
    text = render(tokenizer, [*prompt, *completion], add_generation_prompt=False)
    if not text.startswith(start):
        pairs = enumerate(zip(start, text, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(start), len(text)))
        raise InputError(
            f"base_model.chat_template: a prompt does not render to the start of prompt and answer.\n"
            f"  The prompt alone goes on with {start[same : same + 60]!r}, the whole example with "
            f"{text[same : same + 60]!r}.\n"
            f"  Use a template that writes an assistant turn as its generation prompt, then the answer."
        )
    after = token_ids(tokenizer, text)
    # The prompt's last token and the answer's first characters can merge (two line breaks, say).
    # Sampling starts from the prompt's own ids, so the answer is then tokenized by itself.
    apart = after[: len(before)] == before
    after = after[len(before) :] if apart else token_ids(tokenizer, text[len(start) :], goes_on=True)
    ends = [i for i, token in enumerate(after) if token in stop_ids]
    after = after[: ends[-1] + 1] if ends else [*after, stop_ids[0]]
    return before, after


def check_labels(example: dict[str, list[int]], prompt: list[int], stop_ids: list[int]) -> None:
    """Check one example of `sft_examples` against the ids of its prompt.

    Raises:
        ValueError: the loss is not on exactly the completion, or does not end with an
            end-of-sequence token (an error in the program).
    """
    ids, labels = example["input_ids"], example["labels"]
    expected = [IGNORED] * len(prompt) + ids[len(prompt) :]
    if ids[: len(prompt)] != prompt or labels != expected or len(ids) == len(prompt):
        raise ValueError("the loss must cover exactly the completion")
    if labels[-1] not in stop_ids:
        raise ValueError("the last token of the loss must end the sequence")


def _keep_short(
    examples: Iterable[tuple[int, dict[str, Any]]], limit: int, key: str
) -> Iterator[dict[str, Any]]:
    """Of examples with lengths those of at most `limit` tokens; then the log says how many are left out.

    Raises:
        InputError: at the end, if there was none.
    """
    total = kept = longest = 0
    shortest: int | None = None
    for length, example in examples:
        total, longest = total + 1, max(longest, length)
        shortest = length if shortest is None else min(shortest, length)
        if length <= limit:
            kept += 1
            yield example
    if not total:
        raise InputError(f"{key}: there is no example to train on")
    print(
        f"examples: {kept} of at most {key}.max_length = {limit} tokens "
        f"(longest {longest}), {total - kept} longer ones left out",
        flush=True,
    )
    if not kept:
        raise InputError(
            f"{key}.max_length: found {limit}, but the shortest of {total} examples has "
            f"{shortest} tokens; no example is left to train on"
        )


def sft_examples(
    tokenizer: Any,
    rows: list[dict[str, Any]],
    stop_ids: list[int],
    max_length: int,
    key: str,
    soft: Callable[[Any, dict[str, Any], list[int]], list[dict[str, Any]]] | None = None,
    rated: Callable[[Any, dict[str, Any], list[int]], dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Prompt-completion rows as token ids and labels, one after the other, in the order of the rows.

    Args:
        tokenizer: tokenizer of the checkpoint.
        rows: `prompt` and `completion`, each a list of messages.
        stop_ids: end-of-sequence ids.
        max_length: a longer example is left out, never cut.
        key: config key of the training, for messages.
        soft: gives an example's soft targets from the tokenizer, the row and the token ids.
        rated: gives, from the same, what a loss on expected ratings needs.

    Yields:
        Dicts of `input_ids` and `labels`, lists of equal length; a label is the token itself in the
        completion and `IGNORED` in the prompt. With `soft` all have `soft`, a list of dicts, which may be
        empty: `weight` times the cross-entropy of `token` counts at `place` (an index of `input_ids`), or,
        with `after` >= 0, at the next place if the token at `place` were `after`. Labels of places with
        soft targets do not count. With `rated` all have `rated`, a dict: `place` (index in `input_ids` of
        the rating), `score` (what its mean should be) and `group` (examples of one group are compared, of
        -1 with none).

    Raises:
        InputError: no example is short enough, or the chat template does not fit.
    """

    def all_examples() -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows:
            before, after = completion_ids(tokenizer, row["prompt"], row["completion"], stop_ids)
            ids = before + after
            example: dict[str, Any] = {"input_ids": ids, "labels": [IGNORED] * len(before) + after}
            check_labels(example, before, stop_ids)
            if soft is not None:
                example["soft"] = soft(tokenizer, row, ids)
            if rated is not None:
                example["rated"] = rated(tokenizer, row, ids)
            yield len(ids), example

    return _keep_short(all_examples(), max_length, key)


def preference_examples(
    tokenizer: Any, rows: list[dict[str, Any]], stop_ids: list[int], max_length: int, key: str
) -> Iterator[dict[str, list[int]]]:
    """Preference rows as token ids: dicts of `prompt_ids`, `chosen_ids` and `rejected_ids`.

    Args and errors are those of `sft_examples`; rows have `prompt`, `chosen` and `rejected`. Both
    answers end with an end-of-sequence token, which is in the loss.
    """

    def all_examples() -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows:
            before, chosen = completion_ids(tokenizer, row["prompt"], row["chosen"], stop_ids)
            _, rejected = completion_ids(tokenizer, row["prompt"], row["rejected"], stop_ids)
            example = {"prompt_ids": before, "chosen_ids": chosen, "rejected_ids": rejected}
            yield len(before) + max(len(chosen), len(rejected)), example

    return _keep_short(all_examples(), max_length, key)


def _asked(example: dict[str, Any], openings: Sequence[int]) -> list[tuple[int, int]]:
    """Places of an example whose logits its targets need, as (place, after) of `sft_examples`.

    First those of the soft targets; then, with `rated`, the rating's first token and its second one after
    each of `openings`.
    """
    found = [(target["place"], target["after"]) for target in example.get("soft", ())]
    if "rated" in example:
        found += [(example["rated"]["place"], token) for token in (-1, *openings)]
    return found


def one_row(examples: list[dict[str, Any]], openings: Sequence[int] = ()) -> dict[str, Any]:
    """Lay a micro-batch out as one row without padding, where equal beginnings are computed once.

    The row holds the prompts as a tree: two examples share the tokens that both begin with, short of
    each prompt's last token, which predicts the first of the completion. Every token attends to those
    before it in its own example, at the positions that it has alone; so loss and gradients are those
    of a padded batch. The judge's examples share their rubric and, in part, their prompts, which is
    half of their tokens.

    Args:
        examples: of `sft_examples`.
        openings: first tokens of the ratings of two tokens, where examples have `rated`.

    Returns:
        `input_ids`, `position_ids`, `labels`, `shift_labels`: int64 [1, S]; `shift_labels[0, i]` is
        the token that position i predicts, or `IGNORED`. `attention_mask`: bool [1, 1, S, S], true
        where a position (row) sees another (column). With soft targets and `rated` also what
        `_target_tensors` returns. A token that a target follows and the example does not hold has a
        position too.
    """
    import torch

    ids: list[int] = []
    before: list[int] = []  # where the token before stands, or -1
    positions: list[int] = []
    targets: list[int] = []
    known: dict[tuple[int, int], int] = {}  # (place of the token before, token): its place
    read: list[list[tuple[int, int]]] = []
    for example in examples:
        own = max(example["labels"].count(IGNORED) - 1, 0)  # from here on nothing is shared
        place, places = -1, []
        for i, token in enumerate(example["input_ids"]):
            last, shared = place, i < own
            place = known.get((last, token), len(ids)) if shared else len(ids)
            places.append(place)
            if place < len(ids):
                continue
            if shared:
                known[last, token] = place
            ids.append(token)
            before.append(last)
            positions.append(i)
            targets.append(example["labels"][i + 1] if i + 1 < len(example["labels"]) else IGNORED)
        aside: dict[int, int] = {}  # token that the example does not hold: its place
        read.append([])
        for i, token in _asked(example, openings):
            if token < 0:
                place = places[i - 1]
            elif token == example["input_ids"][i]:
                place = places[i]
            else:
                if token not in aside:
                    aside[token] = len(ids)
                    ids.append(token)
                    before.append(places[i - 1])
                    positions.append(i)
                    targets.append(IGNORED)
                place = aside[token]
            read[-1].append((0, place))
    sees = torch.eye(len(ids), dtype=torch.bool)
    for place, last in enumerate(before):
        if last >= 0:
            sees[place] |= sees[last]
    shift_labels = torch.tensor([targets])
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "attention_mask": sees[None, None],
        "labels": shift_labels,  # the trainer looks for this name before it counts the targets
        "shift_labels": shift_labels,
    } | _target_tensors(examples, read)


def _target_tensors(examples: list[dict[str, Any]], read: list[list[tuple[int, int]]]) -> dict[str, Any]:
    """The targets of a batch beside its labels, as tensors; none where the examples have none.

    Args:
        examples: of the batch.
        read: for each example row and column of each place of `_asked`.

    Returns:
        With soft targets `soft_rows`, `soft_columns`, `soft_tokens` (int64 [T]) and `soft_weights` (float32
        [T]): position, token that it may predict, and weight. With `rated` the positions whose logits are
        those of a rating's first token, and of its second after each opening: `rated_rows`, `rated_columns`
        (int64 [B, 1 + openings]); and `rated_scores` (float32 [B]), `rated_groups` (int64 [B]).
    """
    import torch

    tensors: dict[str, Any] = {}
    targets = [example.get("soft", []) for example in examples]
    if any(targets):
        soft = [
            (*place, target["token"], target["weight"])
            for places, own in zip(read, targets, strict=True)
            for place, target in zip(places, own, strict=False)
        ]
        rows, columns, tokens, weights = zip(*soft, strict=True)
        tensors |= {
            "soft_rows": torch.tensor(rows),
            "soft_columns": torch.tensor(columns),
            "soft_tokens": torch.tensor(tokens),
            "soft_weights": torch.tensor(weights, dtype=torch.float32),
        }
    if "rated" in examples[0]:
        rated = [example["rated"] for example in examples]
        places = torch.tensor([places[len(own) :] for places, own in zip(read, targets, strict=True)])
        tensors |= {
            "rated_rows": places[..., 0],
            "rated_columns": places[..., 1],
            "rated_scores": torch.tensor([one["score"] for one in rated], dtype=torch.float32),
            "rated_groups": torch.tensor([one["group"] for one in rated]),
        }
    return tensors


def padded(examples: list[dict[str, Any]], pad_id: int, openings: Sequence[int] = ()) -> dict[str, Any]:
    """Lay a micro-batch with soft targets or `rated` out with padding, for models that do not take `one_row`.

    A token that a target follows and the example does not hold needs a row of its own.

    Returns:
        `input_ids`, `attention_mask`, `labels`, `shift_labels`: int64 [B, S], padded on the right, and
        what `_target_tensors` returns.
    """
    import torch

    rows = [example["input_ids"] for example in examples]
    targets = [[*example["labels"][1:], IGNORED] for example in examples]
    read: list[list[tuple[int, int]]] = []
    for number, example in enumerate(examples):
        aside: dict[int, int] = {}
        read.append([])
        for i, token in _asked(example, openings):
            row, column = number, i - (token < 0)
            if token >= 0 and token != example["input_ids"][i]:
                if token not in aside:
                    aside[token] = len(rows)
                    rows.append([*example["input_ids"][:i], token])
                    targets.append([IGNORED] * (i + 1))
                row = aside[token]
            read[-1].append((row, column))
    width = max(map(len, rows))
    shift_labels = torch.tensor([row + [IGNORED] * (width - len(row)) for row in targets])
    return {
        "input_ids": torch.tensor([row + [pad_id] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "labels": shift_labels,
        "shift_labels": shift_labels,
    } | _target_tensors(examples, read)
