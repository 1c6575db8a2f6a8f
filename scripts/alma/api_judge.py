"""Questions to an OpenAI-compatible endpoint: answers by a cache, bounded retries, faults counted by name.

An answer that was paid for is never asked for twice: it goes into an append-only file at once, under the hash
of its request, and a job that is killed or fails goes on from there. The key of the endpoint is read from
an environment variable when the requests are sent; it is in no file, no message and no record.
"""

import asyncio
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alma.errors import InputError, shorten
from alma.progress import Progress

OPENAI = "https://api.openai.com/v1"
NO_TEXT, CUT_OFF = "no text", "cut off by max_tokens"  # problems of an answer that did arrive


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently.

    Args:
        name: what messages call it, for example evaluation.judges.gpt.
        base_url: address of the API, up to /v1.
        api_key_env: environment variable that holds the key; None for an endpoint that wants none.
        max_retries: of one request, after a refused connection, a time-out, HTTP 408, 409, 429 or 5xx; the
            client waits longer each time, or as long as the server says.
        concurrency: requests on their way at the same time.
        timeout: seconds for one request.
    """

    name: str
    base_url: str
    api_key_env: str | None
    max_retries: int
    concurrency: int
    timeout: float


@dataclass(frozen=True)
class Answer:
    """What came back for a request: a text, or the name of the problem; a cut-off answer has both."""

    text: str | None
    problem: str | None = None
    input_tokens: int | None = None  # as the endpoint counts them; None where it does not say
    output_tokens: int | None = None


def request_key(base_url: str, body: dict[str, Any]) -> str:
    """Hex SHA-256 of a request: the same endpoint, model, question and sampling give the same key."""
    text = json.dumps([base_url, body], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def cache_path(judge: str) -> Path:
    """File of the answers of a judge, apart from the results: it outlives them."""
    return Path(os.environ.get("ALMA_CACHE") or ".cache") / "judges" / f"{judge}.jsonl"


def request_body(
    text: str, model: str, temperature: float | None, max_tokens: int | None, more: dict[str, Any]
) -> dict[str, Any]:
    """Body of a chat request with one question; a key of `more` goes before ours, and null takes one out."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    given = body | {"temperature": temperature, "max_tokens": max_tokens} | more
    return {name: value for name, value in given.items() if value is not None}


class AnswerCache:
    """Answers in an append-only JSON Lines file; jobs side by side may share one.

    A line that a killed job left unfinished is passed over, and its request is asked again.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.answers: dict[str, Answer] = {}
        if not self.path.exists():
            return
        for line in self.path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
                key = row.pop("key")
                self.answers[key] = Answer(**row)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer, on disk before this returns."""
        self.answers[key] = answer
        line = json.dumps({"key": key} | asdict(answer), ensure_ascii=False).encode(
            "utf-8", "backslashreplace"
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.seek(0, os.SEEK_END)
            if handle.tell():
                handle.seek(-1, os.SEEK_END)
                if handle.read(1) != b"\n":  # the end of a line that was never finished
                    line = b"\n" + line
            handle.write(line + b"\n")


def key_of(endpoint: Endpoint) -> str:
    """The endpoint's key, from the environment.

    Raises:
        InputError: the variable is not set.
    """
    if endpoint.api_key_env is None:
        return "none"  # the client wants one, and an endpoint without keys reads none
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise InputError(
            f"{endpoint.name}.api_key_env: the environment variable {endpoint.api_key_env} is not set; "
            f"expected the key of {endpoint.base_url} in it (null for an endpoint without keys)"
        )
    return key


def _words(error: Exception, key: str) -> str:
    """First line of what the endpoint said, without the key, which some endpoints repeat."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    lines = str(said or getattr(error, "message", None) or error).strip().splitlines()
    return shorten((lines or [type(error).__name__])[0].replace(key, "[key]"), 200)


def _is_final(error: Exception) -> bool:
    """Whether no other request would fare better: no connection, a wrong key, address or model, no money."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return False
    wrong = (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError)
    return isinstance(error, (*wrong, openai.NotFoundError)) or (
        getattr(error, "code", None) == "insufficient_quota"
    )


def _named(error: Exception) -> str:
    """Short name of a failed request, under which it is counted."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}"
    if isinstance(error, openai.APITimeoutError):
        return "timed out"
    return "no connection" if isinstance(error, openai.APIConnectionError) else "no valid answer"


def _answer(completion: Any) -> Answer:
    """An endpoint's answer; what does not look like one is a problem."""
    try:
        choice = completion.choices[0]
        text, reason = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        return Answer(None, "no valid answer")
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    if not isinstance(text, str) or not text.strip():
        return Answer(None, CUT_OFF if reason == "length" else NO_TEXT, *counts)
    return Answer(text, CUT_OFF if reason == "length" else None, *counts)


async def _send_all(
    endpoint: Endpoint,
    bodies: dict[str, dict[str, Any]],
    keep: Callable[[str, Answer], None],
    most_problems: float,
    key: str,
) -> None:
    """Send every request; `keep` gets each answer as it arrives.

    Raises:
        InputError: no request can succeed, or more have failed than may.
    """
    import openai

    gate, failed = asyncio.Semaphore(endpoint.concurrency), Counter[str]()
    faults: list[InputError] = []  # with one, no more is sent; what is on its way is paid for, and waited for
    client = openai.AsyncOpenAI(
        api_key=key,
        base_url=endpoint.base_url,
        max_retries=endpoint.max_retries,
        timeout=endpoint.timeout,
    )

    async def one(name: str, body: dict[str, Any]) -> None:
        async with gate:
            if faults:
                return
            try:
                answer = _answer(await client.chat.completions.create(**_known(body)))
            except openai.OpenAIError as error:
                if _is_final(error):
                    fault = InputError(
                        f"{endpoint.name}: {endpoint.base_url} cannot be asked: {_named(error)}: "
                        f"{_words(error, key)}\n  Check base_url, model ({body['model']}) and the key in "
                        f"{endpoint.api_key_env or 'no variable (api_key_env is null)'}."
                    )
                    faults.append(fault)
                    return
                answer = Answer(None, _named(error))
                print(f"{endpoint.name}: {answer.problem}: {_words(error, key)}")
        keep(name, answer)
        if answer.text is None:
            failed[str(answer.problem)] += 1
        if failed.total() > most_problems:
            counts = ", ".join(f"{count} x {problem}" for problem, count in failed.most_common())
            fault = InputError(
                f"{endpoint.name}: {failed.total()} of {len(bodies)} requests have no answer ({counts}), "
                f"more than max_unreadable allows; no more are sent"
            )
            faults.append(fault)

    tasks = [asyncio.create_task(one(name, body)) for name, body in bodies.items()]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()
    if faults:
        raise faults[0]


def _known(body: dict[str, Any]) -> dict[str, Any]:
    """A body as the client takes it: keys that it does not know go through `extra_body`."""
    known = {"model", "messages", "temperature", "max_tokens"}
    more = {name: value for name, value in body.items() if name not in known}
    return {name: value for name, value in body.items() if name in known} | {"extra_body": more}


def ask_all(
    endpoint: Endpoint, bodies: list[dict[str, Any]], cache: AnswerCache, max_problems: float, what: str
) -> list[Answer]:
    """Answers to chat requests, in their order; those in the cache are not asked for again.

    Args:
        endpoint: where to ask.
        bodies: of POST /chat/completions (model, messages, and what else the endpoint takes); equal ones are
            asked once.
        cache: answers from before; every new one that has a text is added as it arrives. One that failed
            is not, so the next job asks it again.
        max_problems: share of the bodies that may stay without a text; with one more, none is sent any more.
        what: name in the progress line.

    Raises:
        InputError: the key is missing, no request can succeed, or too many have failed. It says how many
            answers are kept.
    """
    keys = [request_key(endpoint.base_url, body) for body in bodies]
    wanted = {key: body for key, body in zip(keys, bodies, strict=True) if key not in cache.answers}
    failed: dict[str, Answer] = {}
    print(f"{what}: {len(set(keys)) - len(wanted)} of {len(set(keys))} answers are in {cache.path}")
    if wanted:
        progress = Progress(what, len(wanted), "answers")

        def keep(key: str, answer: Answer) -> None:
            if answer.text is None:
                failed[key] = answer
            else:
                cache.add(key, answer)
            progress.advance(1)

        try:
            asyncio.run(_send_all(endpoint, wanted, keep, max_problems * len(bodies), key_of(endpoint)))
        except InputError as error:
            kept = sum(key in cache.answers for key in set(keys))
            raise InputError(
                f"{error}\n  {kept} of {len(set(keys))} answers are kept in {cache.path}: the same command "
                f"asks for the rest alone."
            ) from None
    return [cache.answers.get(key) or failed[key] for key in keys]
