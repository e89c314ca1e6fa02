#!/bin/sh
# Branches, then their fusion, then the test: each waits for the one before.
set -eu
cd "$(dirname "$0")/../.."
branches=$(sbatch --parsable "$@" scripts/slurm/branch.sbatch)
fusion=$(sbatch --parsable --dependency="afterok:$branches" --kill-on-invalid-dep=yes "$@" scripts/slurm/fusion.sbatch)
test=$(sbatch --parsable --dependency="afterok:$fusion" --kill-on-invalid-dep=yes "$@" scripts/slurm/test.sbatch)
echo "submitted branches $branches, fusion $fusion, test $test"
