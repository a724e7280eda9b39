#!/usr/bin/env bash
# A campaign as a Slurm job array: eight tasks, each with a shard of the seeds.
#
#   sbatch .ci/campaign/slurm.sh                      # one hour from seed 0
#   FROM=1000000 TIME=8h sbatch --time=8:30:00 .ci/campaign/slurm.sh
#
# `tribunal` must be in the PATH. Outcomes and repros go to campaign-JOBID/ in the directory it was submitted from; afterwards:
#
#   tribunal merge campaign-JOBID/shard-*.json --json whole.json --junit whole.xml
#
#SBATCH --job-name=tribunal
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=1:30:00
# Two minutes before the time is over: runs that have begun are finished, and the outcome is written.
#SBATCH --signal=TERM@120
set -euo pipefail

out="campaign-${SLURM_ARRAY_JOB_ID}"
mkdir -p "$out"
# Which shard this is, tribunal reads from SLURM_ARRAY_TASK_ID and its companions.
exec srun tribunal fuzz \
  --for "${TIME:-1h}" --from "${FROM:-0}" --jobs "${SLURM_CPUS_PER_TASK:-1}" \
  --keep "$out/repros" --json "$out/shard-${SLURM_ARRAY_TASK_ID}.json"
