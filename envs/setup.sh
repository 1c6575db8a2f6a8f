#!/usr/bin/env bash
# Makes the workflow's environment, .venv, from the locked requirements; does nothing when it is complete.
#
#   bash envs/setup.sh           what `make run` needs
#   bash envs/setup.sh test      the same and the test tools
#
# Which lock: ENV=cpu or ENV=cuda decides. Without ENV a complete environment is kept as it is (so a login node without a
# GPU does not undo a cluster's CUDA environment), and a new one is made for what `nvidia-smi -L` finds.
# ENV=light has no torch and nothing that needs it: for the tests without models (`make test-fast`) only.
# Which Python: the first of 3.11 and 3.12 that is found. PYTHON=python3.12 (or python3.11) picks one.
# A chosen Python and the light environment have folders of their own (.venv-3.12, .venv-light, .venv-3.12-light), so that
# nothing undoes .venv.
# How: pip with --no-deps, since a lock is complete; pip's own settings (pip.conf, PIP_*) apply. torch's CPU build is the
# one exception: where your indexes lack it, it is taken from PyTorch's.
# Safe to interrupt and to repeat: a stamp that names the lock is written into the environment last. Without a stamp the
# environment is an unfinished one and is made anew; with the stamp of another lock it is brought up to date.
#
# For tests and unusual places:
#   ALMA_VENV      the environment's folder    (default: as above, beside envs/; its log is ALMA_VENV-setup.log)
#   ALMA_LOCK_DIR  the folder with the locks   (default: envs/)
#   ALMA_IMPORTS   modules that must import at the end, by spaces  (default: torch vllm trl snakemake; light: snakemake)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A path is meant for others: ENV also names the start-up file of POSIX shells (some container images set it), and PYTHON
# is some tools' name for their own interpreter.
env=${ENV:-}
[[ $env == */* ]] && env=
chosen=${PYTHON:-}
[[ $chosen == */* ]] && chosen=
venv=$root/.venv${chosen:+-${chosen#python}}
modules="torch vllm trl snakemake"
if [[ $env == light ]]; then
    venv=$venv-light
    modules=snakemake
fi
venv=${ALMA_VENV:-$venv}
locks=${ALMA_LOCK_DIR:-$root/envs}
read -ra imports <<< "${ALMA_IMPORTS:-$modules}"
log=$venv-setup.log
python=$venv/bin/python
torch_index=https://download.pytorch.org/whl/cpu # PyTorch's index of CPU builds

say() { echo "setup: $*"; }
die() {
    echo "setup: $*" >&2
    exit 1
}

# A failed step shows the end of the log, where pip puts the reason.
fail() {
    tail -n 20 "$log" >&2
    die "$* failed; the whole log: $log"
}

# Stamps: "cpu <hash of the lock>", and for the test tools the hash of both locks.
hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }
stamp_of() { echo "$env $(hash_of "$locks/$env.txt")"; }
test_stamp_of() { echo "$env $(hash_of "$locks/$env.txt" "$locks/test.txt")"; }
read_stamp() { cat "$venv/$1" 2>/dev/null || true; }

is_complete() {
    [[ -x $python && $(read_stamp .alma-stamp) == "$(stamp_of)" ]] || return 1
    [[ $tools != test || $(read_stamp .alma-stamp-test) == "$(test_stamp_of)" ]]
}

tools=${1:-}
[[ $# -le 1 && ($tools == "" || $tools == test) ]] || die "usage: bash envs/setup.sh [test]"

[[ $chosen == "" || $chosen == python3.11 || $chosen == python3.12 ]] ||
    die "PYTHON=$chosen cannot be used: use PYTHON=python3.11 or PYTHON=python3.12, or leave PYTHON unset"

case $env in
    cpu | cuda) ;;
    light) [[ $tools == test ]] || die "ENV=light has no models and serves the tests without them: make test-fast ENV=light" ;;
    "") # the environment that is there, else what the machine has
        env=$(read_stamp .alma-stamp)
        env=${env%% *}
        if [[ $env != cpu && $env != cuda ]]; then
            env=cpu
            # Kept in a variable: under pipefail, `| grep -q` would fail when grep stops reading early.
            gpus=$(nvidia-smi -L 2>/dev/null || true)
            [[ $gpus == *"GPU "* ]] && env=cuda
        fi
        ;;
    *) die "ENV=$env is not an environment: use ENV=cpu, ENV=cuda or ENV=light, or leave ENV unset" ;;
esac
for lock in "$env" ${tools:+"$tools"}; do
    [[ -r $locks/$lock.txt ]] || die "no lock $locks/$lock.txt"
done

is_complete && exit 0

[[ "$(uname -s) $(uname -m)" == "Linux x86_64" ]] ||
    die "the locks in envs/ are for Linux on x86_64; this is $(uname -s) on $(uname -m)"

# One set-up at a time; who waited finds the work done.
mkdir -p "$(dirname "$venv")"
exec 9> "$venv-setup.lock"
if ! flock -n 9; then
    say "another set-up of $venv is running; waiting for it"
    flock 9
    is_complete && exit 0
fi
: > "$log"

# python3.11 first, since the locks were resolved on it.
find_python() {
    local names=(python3.11 python3.12 python3)
    [[ -n $chosen ]] && names=("$chosen")
    bash "$root/envs/find_python.sh" "${names[@]}" 2>> "$log" && return
    [[ -n $chosen ]] && die "PYTHON=$chosen with its venv module was not found, neither on PATH nor by pyenv; what" \
        "was tried is in $log"
    die "Python 3.11 or 3.12 with its venv module is needed and none was found (Debian, Ubuntu: apt-get install" \
        "python3.11 python3.11-venv); what was tried is in $log"
}

# Empties the folder and keeps the folder itself, which may be a link or a mount. Refuses what is no environment.
empty_venv() {
    [[ -e $venv ]] || return 0
    [[ -d $venv ]] || die "$venv is in the way: it is not a folder"
    if [[ -n $(ls -A "$venv") && ! -e $venv/pyvenv.cfg && ! -e $venv/.alma-venv ]]; then
        die "$venv is not a Python environment; it is left alone (move it away, or set ALMA_VENV)"
    fi
    if [[ -n $have && -x $python ]]; then
        say "$venv holds the ${have%% *} environment; making it anew for $env"
    elif [[ -n $(ls -A "$venv") ]]; then
        say "$venv is unfinished or broken; making it anew"
    fi
    # Our mark goes last, so that an interrupted removal can be taken up again.
    touch "$venv/.alma-venv"
    find "$venv/" -mindepth 1 ! -path "$venv/.alma-venv" -delete
}

# pip compiles every module (about a minute of the set-up). Without that, an environment where Python may not write
# bytecode (PYTHONDONTWRITEBYTECODE, a read-only folder) would compile vLLM, torch and transformers again in every job:
# measured on two cores, 27 CPU-s of imports per job.
pip_install() { "$python" -m pip install --no-deps --no-input --disable-pip-version-check "$@" >> "$log" 2>&1; }

install_lock() {
    local lock=$locks/$1.txt torch from
    torch=$(sed -n 's/^\(torch==[^ ;]*+cpu\).*/\1/p' "$lock")
    if [[ -n $torch ]]; then
        say "installing $torch"
        if ! pip_install "$torch"; then
            # Only "no such version" leads to PyTorch's index; a full disk or a broken network would fail there as well.
            grep -q "No matching distribution found for torch" "$log" || fail "installing $torch"
            say "the configured package indexes lack $torch: taking it from $torch_index"
            pip_install --index-url "$torch_index" "$torch" || fail "installing $torch from $torch_index"
        fi
    fi
    say "installing the $(grep -c '^[A-Za-z0-9]' "$lock") packages of $1.txt"
    pip_install -r "$lock" || fail "installing $lock"
}

write_stamp() {
    echo "$2" > "$venv/$1.new"
    mv "$venv/$1.new" "$venv/$1"
}

SECONDS=0
have=$(read_stamp .alma-stamp)
want=$(stamp_of)
if [[ ! -x $python || $have != "$want" ]]; then
    if [[ ! -x $python || ${have%% *} != "$env" ]]; then
        base=$(find_python)
        empty_venv
        say "making $venv ($env) with $("$base" --version); this takes some minutes, details in $log"
        mkdir -p "$venv"
        touch "$venv/.alma-venv"
        place=$venv
        [[ -L $venv ]] && place=$(readlink -f "$venv") # venv refuses a link
        "$base" -m venv "$place" >> "$log" 2>&1 || fail "making $venv"
    else
        say "envs/$env.txt has changed; bringing $venv up to date, details in $log"
        rm -f "$venv/.alma-stamp" "$venv/.alma-stamp-test"
    fi
    install_lock "$env"
    say "checking that ${imports[*]} can be imported"
    "$python" -c 'import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]' "${imports[@]}" \
        >> "$log" 2>&1 || fail "importing ${imports[*]}"
    write_stamp .alma-stamp "$want"
fi

if [[ $tools == test && $(read_stamp .alma-stamp-test) != "$(test_stamp_of)" ]]; then
    rm -f "$venv/.alma-stamp-test"
    install_lock test
    write_stamp .alma-stamp-test "$(test_stamp_of)"
fi
say "done in ${SECONDS} s"
