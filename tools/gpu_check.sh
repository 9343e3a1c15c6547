#!/usr/bin/env bash
# A first visit to a machine with a GPU, in one command of some ten minutes: `tools/gpu_check.sh`.
# It takes the python3 (or $PYTHON) and the torch that are there; no registry, no uv, no nox. Results go to $OUT
# (./gpu-check if unset) as they come. `--rehearse` runs all of it on the CPU; `--help` has the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -u -m tools.gpu.check "$@"
