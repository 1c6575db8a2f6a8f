#!/usr/bin/env bash
# Makes .venv-lm-eval, in which lm-eval runs: a layer over .venv with the packages of envs/lm_eval.txt, which .venv lacks. Does
# nothing when it is complete. For a run with IFEval or evaluation.harness (docs/knowledge.md); other runs need none of it.
#
#   bash envs/lm_eval.sh
#
# A layer, since lm-eval asks for nothing that contradicts the lock: torch, transformers and datasets are those of .venv, and
# twenty small packages that no other part uses stay out of everybody's environment. IFEval also needs NLTK's punkt_tab (a few
# MB, not on the package index): docs/knowledge.md says how to get it.
# Safe to interrupt and to repeat: a stamp with the hashes of the locks is written last.
#
#   ALMA_VENV         the environment below it  (default: .venv)
#   ALMA_LM_EVAL_VENV the folder of the layer   (default: .venv-lm-eval)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
base=${ALMA_VENV:-$root/.venv}
venv=${ALMA_LM_EVAL_VENV:-$root/.venv-lm-eval}
lock=$root/envs/lm_eval.txt
log=$venv-setup.log

fail() {
    [[ -s $log ]] && tail -n 20 "$log" >&2
    echo "lm_eval: $* failed; the whole log: $log" >&2
    exit 1
}

[[ -x $base/bin/python ]] || {
    echo "lm_eval: no environment $base to build on; run bash envs/setup.sh first" >&2
    exit 1
}
below=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
stamp="$below $(cat "$base/.alma-stamp" "$lock" 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
[[ $(cat "$venv/.alma-stamp" 2>/dev/null) == "$stamp" ]] && exit 0

echo "lm_eval: making $venv; details in $log"
"$base/bin/python" -m venv --clear "$venv" > "$log" 2>&1 || fail "making $venv"
own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$below" > "$own/alma.pth"
"$venv/bin/python" -m pip install --no-deps --no-input --disable-pip-version-check -r "$lock" >> "$log" 2>&1 ||
    fail "installing $lock"
"$venv/bin/python" -c 'import immutabledict, langdetect, lm_eval, nltk, transformers' >> "$log" 2>&1 || fail "importing lm_eval"
echo "$stamp" > "$venv/.alma-stamp"
