#!/usr/bin/env bash
# A run on a Slurm cluster.
#
#   launch/slurm.sh [--nodes=1] [--gpus=0] [--per=node|gpu] [--print]
#       [SBATCH OPTION...] -- python main.py --config=... --workdir=...
#
#   --nodes=N   machines
#   --gpus=G    of each
#   --per=node  one process on each machine, with all its GPUs (the default);
#               --per=gpu one process for each GPU
#   --print     shows the batch script and submits nothing
#
# What else sbatch takes goes to it: --time=24:00:00 --partition=gpu
# --account=... --job-name=... --output=...
#
# Two minutes before the time is up, and when the job is preempted, every
# process gets SIGTERM and saves. A run that ends with status 85 is queued
# again: --config.train.preempt_exit_code=85 makes a saved run end so.

set -euo pipefail

fail() {
  echo "launch/slurm.sh: $*; see --help" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac
nodes=1 gpus=0 per=node print='' others=()
while [ $# -gt 0 ]; do
  case "$1" in
    --nodes=?*) nodes=${1#*=} ;;
    --gpus=?*) gpus=${1#*=} ;;
    --per=node | --per=gpu) per=${1#*=} ;;
    --per=*) fail "$1: wanted node or gpu" ;;
    --print) print=yes ;;
    --)
      shift
      break
      ;;
    --*=*) others+=("$1") ;;
    *) fail "'$1' is unknown" ;;
  esac
  shift
done
[[ $nodes =~ ^[1-9][0-9]*$ ]] || fail "--nodes=$nodes: wanted a number from 1 on"
[[ $gpus =~ ^[0-9]+$ ]] || fail "--gpus=$gpus: wanted a number"
[ $# -gt 0 ] || fail "missing: -- COMMAND"
tasks=1
if [ "$per" = gpu ]; then
  [ "$gpus" != 0 ] || fail "--per=gpu: missing: --gpus"
  tasks=$gpus
fi

# The signal goes to the steps of the job, not to this shell.
options=(--nodes="$nodes" --ntasks-per-node="$tasks" --signal=TERM@120
  --requeue --open-mode=append)
if [ "$gpus" != 0 ]; then
  options+=(--gres="gpu:$gpus")
fi

script() {
  echo "#!/usr/bin/env bash"
  if [ "$per" = node ] && [ "$gpus" -gt 1 ]; then
    # Under Slurm JAX would take one GPU for each process.
    echo "export JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((gpus - 1)))"
  fi
  cat <<END
status=0
srun --kill-on-bad-exit=1 $(printf '%q ' "$@")--distributed || status=\$?
if [ "\$status" = 85 ]; then
  scontrol requeue "\$SLURM_JOB_ID"
fi
exit "\$status"
END
}

if [ -n "$print" ]; then
  script "$@"
else
  script "$@" | sbatch "${options[@]}" ${others[@]+"${others[@]}"}
fi
