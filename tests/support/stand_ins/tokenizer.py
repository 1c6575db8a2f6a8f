"""Stand-in for a checkpoint's tokenizer: one token per character."""


class Characters:
    """A tokenizer of single characters."""

    chat_template, added_tokens_decoder, all_special_tokens = "", {}, ()
    eos_token_id = 0

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        return "".join(f"{m['role']}: {m['content']}\n" for m in messages)

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids, **_):
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, ids):
        return [chr(i) for i in ids]


def load_tokenizer(folder):
    return Characters()
