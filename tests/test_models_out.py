"""A checkpoint loads in transformers and in `vllm serve` as it is (docs/models_out.md)."""

import pytest
from vllm_server import vllm_server

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


@pytest.fixture(scope="module")
def server(tiny_checkpoint, tmp_path_factory):
    """`vllm serve` on loopback; gives its address."""
    with vllm_server(tiny_checkpoint, tmp_path_factory.mktemp("serve") / "log.txt") as address:
        yield address


@pytest.mark.services
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
