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
source "$root/envs/layer.sh"
make_layer s3 "${ALMA_S3_VENV:-$root/.venv-s3}" "$root/envs/s3.txt" \
    "moto.server, snakemake, snakemake_storage_plugin_s3"
