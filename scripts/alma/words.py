"""What counts as a word wherever the length of a text is checked or reported."""


def words_of(text: str) -> list[str]:
    """The words of a text: white-space-separated runs that hold a letter or digit.

    "-" and "=" are no words, "1." is one. `alma.duplicates.folded_words` is for comparing texts.
    """
    # Most runs begin with one; to look at the first character alone is several times as fast.
    return [run for run in text.split() if run[0].isalnum() or any(char.isalnum() for char in run)]
