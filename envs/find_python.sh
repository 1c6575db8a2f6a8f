#!/usr/bin/env bash
# Prints the path of an interpreter that can make the environment: Python 3.11 or 3.12 with its venv module.
#
#   bash envs/find_python.sh python3.12             where this one is
#   bash envs/find_python.sh python3.11 python3.12  the first of several names
#
# Looks on PATH, then among pyenv's versions (its shim on PATH starts only a version that is switched on). Exits with 1,
# and says what was tried, where none is found.
set -uo pipefail

for name; do
    candidates=("$name")
    if version=$(pyenv latest "${name#python}" 2>/dev/null) && prefix=$(pyenv prefix "$version" 2>/dev/null); then
        candidates+=("$prefix/bin/$name")
    fi
    for candidate in "${candidates[@]}"; do
        # The interpreter itself, not a shim or another environment's link to it: those may go away.
        "$candidate" - <<-'END' && exit
			import sys
			if not (3, 11) <= sys.version_info[:2] < (3, 13):
			    sys.exit(f"{sys.executable} is {sys.version.split()[0]}")
			import ensurepip, venv
			print(getattr(sys, "_base_executable", None) or sys.executable)
		END
    done
done
exit 1
