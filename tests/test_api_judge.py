"""Questions to an OpenAI-compatible endpoint: a fake one on loopback, with every fault that counts."""

import json
from collections import Counter

import pytest
from fake_endpoint import KEY, fake_endpoint

from alma.api_judge import Answer, AnswerCache, Endpoint, ask_all, request_key
from alma.errors import InputError

pytest.importorskip("openai")  # the environment without torch has none


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    with fake_endpoint() as endpoint:
        endpoint.answer = lambda body: f"to {body['messages'][-1]['content']}"
        yield endpoint


def endpoint_of(server, **changes):
    given = {"api_key_env": "TEST_KEY", "max_retries": 2, "concurrency": 4, "timeout": 10.0} | changes
    return Endpoint(**{"name": "evaluation.judges.gpt", "base_url": server.url} | given)


def bodies(*texts):
    return [
        {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 9} for text in texts
    ]


def asked(server):
    return Counter(body["messages"][-1]["content"] for body in server.asked)


def ask(server, folder, *texts, max_problems=0.0, **changes):
    cache = AnswerCache(folder / "cache.jsonl")
    return ask_all(endpoint_of(server, **changes), bodies(*texts), cache, max_problems, "asking")


def test_answers_come_in_the_order_of_the_requests_and_are_asked_for_once(server, tmp_path):
    found = ask(server, tmp_path, "a", "b", "a")
    assert [answer.text for answer in found] == ["to a", "to b", "to a"]
    assert found[0] == Answer("to a", None, 100, 10)
    assert asked(server) == {"a": 1, "b": 1}
    assert ask(server, tmp_path, "b", "c")[0].text == "to b"
    assert asked(server) == {"a": 1, "b": 1, "c": 1}, "b is in the cache"


def test_what_is_no_argument_of_the_client_reaches_the_endpoint(server, tmp_path):
    body = bodies("a")[0] | {"temperature": 0.0, "reasoning_effort": "low", "top_k": 3}
    ask_all(endpoint_of(server), [body], AnswerCache(tmp_path / "cache.jsonl"), 0.0, "asking")
    assert server.asked == [body]


def test_a_request_is_another_where_anything_of_it_differs():
    (body,) = bodies("a")
    same = dict(reversed(body.items()))
    assert request_key("u", body) == request_key("u", same)
    others = [body | {"model": "n"}, body | {"max_tokens": 8}, body | {"top_p": 1}]
    assert len({request_key("u", other) for other in [body, *others]} | {request_key("v", body)}) == 5


def test_passing_faults_are_tried_again_and_no_more_than_may_be(server, tmp_path):
    server.faults = [429, 500]
    assert ask(server, tmp_path, "a")[0].text == "to a"
    assert asked(server) == {"a": 3}
    server.faults = [503] * 9
    (found,) = ask(server, tmp_path, "b", max_problems=1.0)
    assert found == Answer(None, "HTTP 503")
    assert asked(server)["b"] == 3, "once, and max_retries times again"
    server.faults = []
    assert ask(server, tmp_path, "b")[0].text == "to b", "a failed request is not in the cache"


def test_a_refused_request_is_counted_and_the_others_are_answered(server, tmp_path, capsys):
    server.answer = lambda body: (400, "too long") if body["messages"][-1]["content"] == "b" else "yes"
    found = ask(server, tmp_path, "a", "b", "c", max_problems=0.4)
    assert [answer.problem for answer in found] == [None, "HTTP 400", None]
    assert "HTTP 400: 'too long'" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"1 of 1 requests have no answer \(1 x HTTP 400\)") as caught:
        ask(server, tmp_path, "a", "b", "c", max_problems=0.3)
    assert "2 of 3 answers are kept in" in str(caught.value)


def test_no_more_is_sent_when_too_many_have_failed(server, tmp_path):
    server.answer = lambda body: (400, "no")
    with pytest.raises(InputError, match="no more are sent"):
        ask(server, tmp_path, *map(str, range(100)), max_problems=0.05, concurrency=1)
    assert len(server.asked) <= 7


def test_a_wrong_key_ends_it_at_once_and_is_not_shown(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEST_KEY", "sk-wrong-and-secret")
    with pytest.raises(InputError, match=r"HTTP 401: 'Incorrect API key provided: \[key\]'") as caught:
        ask(server, tmp_path, *map(str, range(50)), max_problems=1.0)
    assert "TEST_KEY" in str(caught.value) and "secret" not in str(caught.value) + capsys.readouterr().out


def test_a_key_that_is_not_there_is_asked_for(server, tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(InputError, match=r"gpt\.api_key_env: the environment variable TEST_KEY is not set"):
        ask(server, tmp_path, "a")
    with pytest.raises(InputError, match=r"HTTP 401"):
        ask(server, tmp_path, "a", api_key_env=None)


def test_a_wrong_path_or_a_dead_endpoint_ends_it_at_once(server, tmp_path):
    with pytest.raises(InputError, match=r"cannot be asked: HTTP 404: 'no such path"):
        ask(server, tmp_path, "a", "b", max_problems=1.0, base_url=server.url + "/typo")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/v1 cannot be asked: no connection"):
        ask(server, tmp_path, "a", "b", max_problems=1.0, base_url="http://127.0.0.1:9/v1", max_retries=0)


def test_the_answers_before_a_failure_are_kept(server, tmp_path):
    server.answer = lambda body: (401, "gone") if len(server.asked) > 5 else "yes"
    with pytest.raises(InputError, match=r"5 of 9 answers are kept in .*cache\.jsonl: the same command"):
        ask(server, tmp_path, *map(str, range(9)), concurrency=1)
    server.answer = lambda body: "yes"
    server.asked.clear()
    assert len(ask(server, tmp_path, *map(str, range(9)))) == 9
    assert len(server.asked) == 4


def test_what_is_on_its_way_when_a_fault_ends_it_is_kept(server, tmp_path):
    import time

    def answer(body):
        if body["messages"][-1]["content"] == "0":
            return 401, "gone"
        time.sleep(0.5)
        return "paid for"

    server.answer = answer
    with pytest.raises(InputError, match=r"3 of 20 answers are kept"):
        ask(server, tmp_path, *map(str, range(20)), concurrency=4)
    assert len(server.asked) == 4


@pytest.mark.parametrize(("text", "problem"), [("", "no text"), (None, "no text"), ("well", "cut off by")])
def test_an_answer_without_text_or_that_was_cut_off_is_named(server, tmp_path, text, problem):
    server.answer = lambda body: text
    server.finish_reason = "length" if text else "stop"
    (found,) = ask(server, tmp_path, "a", max_problems=1.0)
    assert found.problem.startswith(problem)


def test_a_slow_endpoint_times_out(server, tmp_path):
    import time

    server.answer = lambda body: time.sleep(0.5) or "late"
    (found,) = ask(server, tmp_path, "a", max_problems=1.0, timeout=0.05, max_retries=0)
    assert found.problem == "timed out"


def test_a_damaged_line_of_the_cache_is_asked_again_and_spoils_no_other(server, tmp_path):
    ask(server, tmp_path, "a", "b")
    path = tmp_path / "cache.jsonl"
    lines = path.read_bytes().splitlines()
    assert KEY.encode() not in path.read_bytes()
    path.write_bytes(lines[0] + b"\n" + lines[1][:30])  # killed in the middle of a write
    ask(server, tmp_path, "a", "b", "c")
    assert sum(asked(server).values()) == 4
    rows = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert len({json.loads(line)["key"] for line in rows}) == 3
    assert len(AnswerCache(path).answers) == 3
    path.write_bytes(b'[1]\n{"text": "y"}\n{"key": "x", "text": "y", "more": 1}\n{"key": "z", "text": "y"}\n')
    assert AnswerCache(path).answers == {"z": Answer("y")}
