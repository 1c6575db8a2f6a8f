#!/usr/bin/env bash
# Makes the workflow's environment, .venv, from the locked requirements; does nothing when it is complete.
#
#   bash envs/setup.sh           what `make run` needs
#   bash envs/setup.sh test      the same and the test tools
#
# Which lock: ENV=cpu or ENV=cuda decides. Without ENV a complete environment is kept as it is (so a login node without a
# GPU does not undo a cluster's CUDA environment), and a new one is made for what `nvidia-smi -L` finds.
# How: pip with --no-deps, since a lock is complete; pip's own settings (pip.conf, PIP_*) apply. torch's CPU build is the
# one exception: where your indexes lack it, it is taken from PyTorch's.
# Safe to interrupt and to repeat: a stamp that names the lock is written into the environment last. Without a stamp the
# environment is an unfinished one and is made anew; with the stamp of another lock it is brought up to date.
#
# For tests and unusual places:
#   ALMA_VENV      the environment's folder    (default: .venv beside envs/; its log is ALMA_VENV-setup.log)
#   ALMA_LOCK_DIR  the folder with the locks   (default: envs/)
#   ALMA_IMPORTS   modules that must import at the end, by spaces  (default: torch vllm trl snakemake)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${ALMA_VENV:-$root/.venv}
locks=${ALMA_LOCK_DIR:-$root/envs}
read -ra imports <<< "${ALMA_IMPORTS:-torch vllm trl snakemake}"
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

# ENV also names the start-up file of POSIX shells, and some container images set it to a path: not meant for us.
env=${ENV:-}
[[ $env == */* ]] && env=
case $env in
    cpu | cuda) ;;
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
    *) die "ENV=$env is not an environment: use ENV=cpu or ENV=cuda, or leave ENV unset" ;;
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

# The interpreter itself, not a shim or another environment's link to it: those may go away. 3.11 first, since the locks
# were resolved on it.
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3; do
        "$candidate" - 2>> "$log" <<-'END' && return
			import sys
			if not (3, 11) <= sys.version_info[:2] < (3, 13):
			    sys.exit(f"{sys.executable} is {sys.version.split()[0]}")
			import ensurepip, venv
			print(getattr(sys, "_base_executable", None) or sys.executable)
		END
    done
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
# measured on two cores, 27 CPU-s of imports a job.
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
