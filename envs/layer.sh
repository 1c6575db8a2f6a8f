# Makes a layer over .venv: an environment that sees the packages of .venv and adds those of a lock. For envs/lm_eval.sh and
# envs/s3.sh, which source it. Safe to interrupt and to repeat: a stamp with the hashes of the locks is written last.
#
#   make_layer NAME FOLDER LOCK IMPORTS     IMPORTS: modules, separated by commas, that must load at the end
#
#   ALMA_VENV  the environment below it  (default: .venv)

make_layer() {
    local name=$1 venv=$2 lock=$3 imports=$4 base=${ALMA_VENV:-$root/.venv} log=$2-setup.log below own stamp

    fail() {
        [[ -s $log ]] && tail -n 20 "$log" >&2
        echo "$name: $* failed; the whole log: $log" >&2
        exit 1
    }

    [[ -x $base/bin/python ]] || {
        echo "$name: no environment $base to build on; run bash envs/setup.sh first" >&2
        exit 1
    }
    below=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    stamp="$below $(cat "$base/.alma-stamp" "$lock" 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
    [[ $(cat "$venv/.alma-stamp" 2>/dev/null) == "$stamp" ]] && return

    echo "$name: making $venv; details in $log"
    "$base/bin/python" -m venv --clear "$venv" > "$log" 2>&1 || fail "making $venv"
    own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$below" > "$own/alma.pth"
    "$venv/bin/python" -m pip install --no-deps --no-input --disable-pip-version-check -r "$lock" >> "$log" 2>&1 ||
        fail "installing $lock"
    "$venv/bin/python" -c "import $imports" >> "$log" 2>&1 || fail "importing $imports"
    echo "$stamp" > "$venv/.alma-stamp"
}
