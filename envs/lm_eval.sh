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
source "$root/envs/layer.sh"
make_layer lm_eval "${ALMA_LM_EVAL_VENV:-$root/.venv-lm-eval}" "$root/envs/lm_eval.txt" \
    "immutabledict, langdetect, lm_eval, nltk, transformers"
