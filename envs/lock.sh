#!/usr/bin/env bash
# Resolves pyproject.toml into the locks that setup.sh and conda install (`make lock`).
#
#   bash envs/lock.sh                     keeps every locked version that still satisfies pyproject.toml
#   bash envs/lock.sh --upgrade           takes the newest versions (any option of `uv pip compile` may be given)
#
# Writes cpu.txt, cuda.txt (each complete: core packages, torch, the engine and all they need), light.txt (without torch and
# what is built on it), test.txt (the test tools; both are held to the versions in the first two) and the post-deploy scripts that fill the conda environments.
# Needs uv, which reads its own index settings (UV_INDEX, UV_FIND_LINKS, ...). torch's CPU build is looked up on PyTorch's
# own index (pyproject.toml); where your configured indexes carry it, UV_NO_SOURCES=1 leaves that index out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=${UV:-uv}
command -v "$uv" >/dev/null || { echo "lock: uv not found; install it (https://docs.astral.sh/uv) or set UV=" >&2; exit 1; }

# One platform, one Python: glibc 2.31 is Debian 11 or Ubuntu 20.04. The header and the absence of annotations and index
# addresses keep the locks free of whatever is configured on the machine that made them.
compile() {
    UV_CUSTOM_COMPILE_COMMAND="make lock" "$uv" pip compile --quiet --no-annotate --no-emit-index-url \
        --no-emit-find-links --python-version 3.11 --python-platform x86_64-manylinux_2_31 "$@"
}

compile pyproject.toml --extra cpu --overrides envs/cpu-overrides.txt -o envs/cpu.txt "$@"
compile pyproject.toml --extra cuda -o envs/cuda.txt "$@"
compile pyproject.toml --overrides envs/light-overrides.txt -c envs/cpu.txt -c envs/cuda.txt -o envs/light.txt "$@"
compile --group pyproject.toml:test -c envs/cpu.txt -c envs/cuda.txt -o envs/test.txt "$@"

# Snakemake copies an environment file and its post-deploy script elsewhere before it uses them, so neither can name the
# lock by a path; conda's own `pip:` section cannot say --no-deps. The script therefore carries the lock.
for env in cpu cuda; do
    {
        cat <<-HEAD
			#!/usr/bin/env bash
			# Made by \`make lock\` from $env.txt; do not edit. Snakemake runs it in the conda environment made from $env.yaml;
			# without Snakemake: \`conda env create -f envs/$env.yaml\`, activate it, and run this script.
			set -euo pipefail
			lock=\$(mktemp)
			trap 'rm -f "\$lock"' EXIT
			cat > "\$lock" <<'END_OF_LOCK'
		HEAD
        grep -v '^#' "envs/$env.txt"
        echo END_OF_LOCK
        if [[ $env == cpu ]]; then
            cat <<-'TAIL'
				# torch's CPU build: from the configured indexes, else from PyTorch's own, for this one package only.
				torch=$(grep '^torch==' "$lock")
				python -m pip install --no-input --no-deps "$torch" ||
				    python -m pip install --no-input --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch"
			TAIL
        fi
        echo 'python -m pip install --no-input --no-deps -r "$lock"'
    } > "envs/$env.post-deploy.sh"
done
echo "lock: wrote $(wc -l < envs/cpu.txt) lines of cpu.txt, $(wc -l < envs/cuda.txt) of cuda.txt, $(wc -l < envs/light.txt) of light.txt," \
    "$(wc -l < envs/test.txt) of test.txt"
