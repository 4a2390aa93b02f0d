#!/usr/bin/env bash
# A Slurm job of one process per GPU, or per node.
#
#   launch/slurm.sh --nodes=N --gpus=G [OPTIONS] [-- COMMAND...]
#
#   --gpus=8          of each node; 0 for none
#   --per=gpu         one process per GPU (default), or node
#   --name=interbert  of the job; its log is NAME-JOB.log
#   --cpus=4          of each process
#   --time=24:00:00   and --partition=P, --account=A as sbatch has them
#
# COMMAND, such as ./run.sh main.py --config=configs/pretrain_en.py
# --workdir=runs/en, runs with --distributed. Two minutes before the job's time
# is over, and when it is preempted, Slurm sends SIGTERM to the processes: they
# save, end with status 85, and the job is queued again.
set -euo pipefail

fail() {
  echo "slurm.sh: $*" >&2
  exit 2
}

nodes='' gpus='' per=gpu name=interbert cpus=4 time=24:00:00
more=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '2,15s/^# \{0,1\}//p' "$0"
      exit
      ;;
    --nodes=*) nodes=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --per=*) per=${1#*=} ;;
    --name=*) name=${1#*=} ;;
    --cpus=*) cpus=${1#*=} ;;
    --time=*) time=${1#*=} ;;
    --partition=* | --account=*) more+=("$1") ;;
    --)
      shift
      break
      ;;
    *) fail "unexpected argument '$1' (--help)" ;;
  esac
  shift
done
[ -n "$nodes" ] || fail "--nodes is missing"
case "$gpus" in
  '' | *[!0-9]*) fail "--gpus is '$gpus'; wanted the number of each node's" ;;
esac
[ $# -gt 0 ] || fail "the command is missing: -- ./run.sh main.py --config=..."
case "$per" in
  gpu)
    [ "$gpus" -gt 0 ] || fail "--per=gpu without GPUs; give --per=node"
    tasks=$gpus
    ;;
  node) tasks=1 ;;
  *) fail "--per is '$per'; wanted gpu or node" ;;
esac
case " $* " in
  *' main.py '*) set -- "$@" --config.train.preempt_exit_code=85 ;;
esac
printf -v quoted '%q ' "$@" --distributed
# JAX gives a process of Slurm one GPU, unless it is told otherwise.
[ "$per" = gpu ] || [ "$gpus" = 0 ] ||
  quoted="env JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((gpus - 1))) $quoted"
[ "$gpus" = 0 ] || more+=("--gres=gpu:$gpus")

exec sbatch --job-name="$name" --nodes="$nodes" --ntasks-per-node="$tasks" \
  --cpus-per-task="$cpus" --time="$time" --signal=TERM@120 --requeue \
  --open-mode=append --output="$name-%j.log" "${more[@]}" \
  --wrap="export PYTHONFAULTHANDLER=1
srun --kill-on-bad-exit=1 ${quoted% }
status=\$?
[ \$status -ne 85 ] || scontrol requeue \$SLURM_JOB_ID
exit \$status"
