#!/usr/bin/env bash
# A group of patients on a SLURM cluster: keypoints, then matches, each shared out among the tasks of an array, then the rest.
#
#   source .venv/bin/activate
#   SHARDS=16 CPUS=4 MEMORY=12G examples/group_slurm.sh /data/cohort/*/ct.nii.gz -o /data/group --landmarks /data/cohort
#
# Everything after the script's name is for `homolog group`. All machines must see the same files by the same names, and
# the same homolog. Partition, account and the like are sbatch's own variables: SBATCH_PARTITION, SBATCH_ACCOUNT, ...
#
# The same line again, after whatever went wrong, redoes only what is missing.
set -euo pipefail

# Inside a job: its part of the work.
case ${1-} in
  --stage=rest)
    exec homolog group "${@:2}"
    ;;
  --stage=*)
    exec homolog group "${@:2}" --only "${1#--stage=}" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
    ;;
esac

# On the machine where jobs are submitted.
words=("$@")
array=(--array "1-${SHARDS:-16}")

# STAGE OPTION...: submits a job and says its number. A job whose forerunner failed is cancelled, not left waiting.
submit() {
  sbatch --parsable --job-name "homolog-$1" --kill-on-invalid-dep=yes --time "${HOURS:-4}:00:00" \
    --cpus-per-task "${CPUS:-4}" --mem "${MEMORY:-8G}" "${@:2}" "$0" "--stage=$1" "${words[@]}" | cut -d ';' -f 1
}

keypoints=$(submit keypoints "${array[@]}")
matches=$(submit matches "${array[@]}" --dependency "afterok:$keypoints")
rest=$(submit rest --dependency "afterok:$matches")
echo "keypoints $keypoints, then matches $matches, then the rest $rest"
