#!/usr/bin/env bash
# The loop that people write around such scripts: one after the other, and what is there is not made again.
#
#   bash run.sh PYTHON SETTINGS FOLDER LAST_ROUND
set -euo pipefail
python=$1 settings=$2 folder=$3 last=$4
here=$(dirname "${BASH_SOURCE[0]}")

[ -e "$folder/prompts.jsonl" ] || "$python" "$here/write_prompts.py" "$settings" "$folder/prompts.jsonl"
for ((round = 2; round <= last; round++)); do
    at=$folder/round-$round
    mkdir -p "$at"
    [ -e "$at/samples.jsonl" ] ||
        "$python" "$here/sample.py" "$settings" "$round" "$folder/prompts.jsonl" "$at/samples.jsonl"
    [ -e "$at/scores.jsonl" ] || "$python" "$here/judge.py" "$settings" "$at/samples.jsonl" "$at/scores.jsonl"
    [ -e "$at/best.jsonl" ] || "$python" "$here/keep_best.py" "$at/scores.jsonl" "$at/best.jsonl"
done
