#!/usr/bin/env bash
# Makes .venv-s3, from which a run with results on S3 is started: a layer over .venv with the packages of envs/s3.txt, which .venv
# lacks. Does nothing when it is complete. Runs on a file system need none of it (docs/cluster.md).
#
#   bash envs/s3.sh
#
# A layer, since botocore asks for python-dateutil below 3, and the lock has a later one. moto, a server for the test, is among them.
# Safe to interrupt and to repeat: a stamp with the hashes of the locks is written last.
#
#   ALMA_VENV     the environment below it  (default: .venv)
#   ALMA_S3_VENV  the folder of the layer   (default: .venv-s3)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
base=${ALMA_VENV:-$root/.venv}
venv=${ALMA_S3_VENV:-$root/.venv-s3}
lock=$root/envs/s3.txt
log=$venv-setup.log

fail() {
    [[ -s $log ]] && tail -n 20 "$log" >&2
    echo "s3: $* failed; the whole log: $log" >&2
    exit 1
}

[[ -x $base/bin/python ]] || {
    echo "s3: no environment $base to build on; run bash envs/setup.sh first" >&2
    exit 1
}
below=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
stamp="$below $(cat "$base/.alma-stamp" "$lock" 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
[[ $(cat "$venv/.alma-stamp" 2>/dev/null) == "$stamp" ]] && exit 0

echo "s3: making $venv; details in $log"
"$base/bin/python" -m venv --clear "$venv" > "$log" 2>&1 || fail "making $venv"
own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$below" > "$own/alma.pth"
"$venv/bin/python" -m pip install --no-deps --no-input --disable-pip-version-check -r "$lock" >> "$log" 2>&1 ||
    fail "installing $lock"
"$venv/bin/python" -c 'import moto.server, snakemake, snakemake_storage_plugin_s3' >> "$log" 2>&1 || fail "importing the plugin"
echo "$stamp" > "$venv/.alma-stamp"
