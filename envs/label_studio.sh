#!/usr/bin/env bash
# Makes .venv-label-studio, an environment of its own for Label Studio (it needs older packages than the workflow), from the
# lock envs/label-studio.txt; does nothing when it is complete. For `make test-services`; a user of Label Studio needs none of it.
#
#   bash envs/label_studio.sh           installs the lock
#   bash envs/label_studio.sh 1.23.2    resolves this version anew, installs it, and writes the lock
#
# The environment has about 1.5 GB, and takes some minutes. Safe to interrupt and to repeat: a stamp with the lock's hash is
# written last.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv-label-studio
lock=$root/envs/label-studio.txt
log=$venv-setup.log
version=${1:-}

hash_of_lock() { sha256sum < "$lock" | cut -d ' ' -f 1; }
fail() {
    tail -n 20 "$log" >&2
    echo "label_studio: $* failed; the whole log: $log" >&2
    exit 1
}

[[ -z $version && $(cat "$venv/.alma-stamp" 2>/dev/null) == "$(hash_of_lock)" ]] && exit 0
python=$(bash "$root/envs/find_python.sh" python3.11 python3.12 2>/dev/null) || {
    echo "label_studio: Python 3.11 or 3.12 with its venv module is needed and none was found" >&2
    exit 1
}
echo "label_studio: making $venv; this takes some minutes, details in $log"
"$python" -m venv --clear "$venv" > "$log" 2>&1 || fail "making $venv"
pip_install() { "$venv/bin/python" -m pip install --no-input --disable-pip-version-check "$@" >> "$log" 2>&1; }
if [[ -n $version ]]; then
    pip_install "label-studio==$version" || fail "installing label-studio==$version"
    {
        echo "# Made by \`bash envs/label_studio.sh $version\`; do not edit."
        "$venv/bin/python" -m pip freeze --all --disable-pip-version-check | grep -v '^pip=='
    } > "$lock.new"
    mv "$lock.new" "$lock"
else
    pip_install --no-deps -r "$lock" || fail "installing $lock"
fi
hash_of_lock > "$venv/.alma-stamp"
