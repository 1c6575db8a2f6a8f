#!/usr/bin/env bash
# Installs Slurm's programs from Debian's or Ubuntu's packages, for the tests that start a cluster on the loopback
# (tests/support/slurm_cluster.py; `make test-slurm`). Does nothing where they are there; where it may not install, it says so
# and ends well, and the tests are skipped. It starts no service.
#
#   bash envs/slurm.sh
set -euo pipefail

packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)
PATH=$PATH:/usr/sbin:/usr/local/sbin
missing=()
for program in munged slurmctld slurmd sbatch srun squeue scancel scontrol sinfo; do
    command -v "$program" > /dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0
if ! command -v apt-get > /dev/null || [[ $(id -u) != 0 ]]; then
    echo "slurm: ${missing[*]} not found, and only root can install them (apt-get install ${packages[*]}): the tests on Slurm are skipped"
    exit 0
fi
echo "slurm: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } > "$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "slurm: installing failed: the tests on Slurm are skipped"
fi
rm -f "$log"
