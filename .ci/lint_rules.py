"""`snakemake --lint` without one of its suggestions, which it cannot switch off.

It wants every function in a common module. Here a function that one stage uses lives in that stage's file,
beside the rules that a reader has open. Prints what is left; exits with 1 if anything is.
"""

import re
import subprocess
import sys

UNWANTED = "Mixed rules and functions in same snakefile."


def suggestions(printed: str) -> list[str]:
    """The suggestions in the output of `snakemake --lint`, each with the file or rule that it is about."""
    found, subject = [], ""
    for part in re.split(r"^(?=Lints for |    \* )", printed, flags=re.M):
        if part.startswith("Lints for "):
            subject = part
        elif part.startswith("    * "):
            found.append(subject + part)
    return found


def main() -> int:
    """Run the linter; returns the exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = suggestions(done.stdout)
    if done.returncode and not found:  # no suggestion: Snakemake itself failed
        print(done.stdout, end="")
        return done.returncode
    wanted = [text for text in found if UNWANTED not in text]
    print("".join(wanted) or f"snakemake --lint: nothing but {len(found)} of {UNWANTED!r}\n", end="")
    return bool(wanted)


if __name__ == "__main__":
    sys.exit(main())
