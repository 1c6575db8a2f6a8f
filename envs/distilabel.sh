#!/usr/bin/env bash
# Makes .venv-distilabel, in which distilabel runs: a layer over .venv with the packages of envs/distilabel.txt, which .venv lacks.
# Does nothing when it is complete. For benchmarks/bench_redo.py alone, which leaves distilabel out where this is missing.
#
#   bash envs/distilabel.sh
#
# A layer, since distilabel asks for nothing that contradicts the lock: torch, vllm, transformers and datasets are those of
# .venv. Safe to interrupt and to repeat: a stamp with the hashes of the locks is written last.
#
#   ALMA_VENV            the environment below it  (default: .venv)
#   ALMA_DISTILABEL_VENV the folder of the layer   (default: .venv-distilabel)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/envs/layer.sh"
make_layer distilabel "${ALMA_DISTILABEL_VENV:-$root/.venv-distilabel}" "$root/envs/distilabel.txt" \
    "distilabel.models, distilabel.pipeline, distilabel.steps.tasks, vllm"
