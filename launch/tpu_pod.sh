#!/usr/bin/env bash
# A Cloud TPU pod through gcloud: every host runs the same command.
#
#   launch/tpu_pod.sh create  NAME --zone=Z --type=T [--version=V] [--spot]
#   launch/tpu_pod.sh queue   NAME --zone=Z --type=T [--version=V] [--spot]
#   launch/tpu_pod.sh copy    NAME --zone=Z        what is committed here
#   launch/tpu_pod.sh install NAME --zone=Z        requirements and jax[tpu]
#   launch/tpu_pod.sh start   NAME --zone=Z -- main.py --config=... --workdir=...
#   launch/tpu_pod.sh logs    NAME --zone=Z [--worker=I]
#   launch/tpu_pod.sh wait    NAME --zone=Z        ends as the command ended
#   launch/tpu_pod.sh stop    NAME --zone=Z        SIGTERM: it saves, then ends
#   launch/tpu_pod.sh delete  NAME --zone=Z [--queued]
#   launch/tpu_pod.sh run     NAME --zone=Z --type=T [--version=V] -- main.py ...
#
#   --type     accelerator, such as v3-32 or v5litepod-16
#   --version  runtime; tpu-ubuntu2204-base by default
#   --spot     cheaper, and taken away at any time
#   --queued   it was made by queue
#
# start returns at once: the command goes on when the connection is gone.
# run does create --spot, copy, install, start and wait, and all of it again
# when the pod was taken away or the command ended with status 85, which
# --config.train.preempt_exit_code=85 gives to a run that was told to stop and
# has saved. --workdir must outlive the pod.

# Words in single quotes are expanded on the hosts.
# shellcheck disable=SC2016
set -euo pipefail

fail() {
  echo "launch/tpu_pod.sh: $*; see --help" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
  create | queue | copy | install | start | logs | wait | stop | delete | run) ;;
  "") fail "missing: what to do (create, start, ...)" ;;
  *) fail "'$1' is unknown" ;;
esac
verb=$1
shift
name=${1-}
case "$name" in "" | -*) fail "missing: NAME of the pod" ;; esac
shift

cd "$(dirname "${BASH_SOURCE[0]}")/.."
zone='' type='' version=tpu-ubuntu2204-base spot='' worker=0 queued=''
while [ $# -gt 0 ]; do
  case "$1" in
    --zone=?*) zone=${1#*=} ;;
    --type=?*) type=${1#*=} ;;
    --version=?*) version=${1#*=} ;;
    --worker=?*) worker=${1#*=} ;;
    --spot) spot=--spot ;;
    --queued) queued=yes ;;
    --)
      shift
      break
      ;;
    *) fail "'$1' is unknown" ;;
  esac
  shift
done
[ -n "$zone" ] || fail "missing: --zone"
case "$verb" in create | queue | run) [ -n "$type" ] || fail "missing: --type" ;; esac
case "$verb" in start | run) [ $# -gt 0 ] || fail "missing: -- COMMAND" ;; esac

tpu=(gcloud compute tpus)

# $1: which hosts; $2: what they do, expanded there.
on_hosts() {
  "${tpu[@]}" tpu-vm ssh "$name" --zone="$zone" --worker="$1" --command="$2"
}

create() {
  "${tpu[@]}" tpu-vm create "$name" --zone="$zone" \
    --accelerator-type="$type" --version="$version" ${spot:+"$spot"}
}

copy() {
  local folder
  folder=$(mktemp -d)
  git archive --format=tar.gz --output="$folder/interbert-jax.tar.gz" HEAD
  "${tpu[@]}" tpu-vm scp "$folder/interbert-jax.tar.gz" \
    "$name:interbert-jax.tar.gz" --zone="$zone" --worker=all
  rm -r "$folder"
  on_hosts all \
    'mkdir -p interbert-jax && tar -xzf interbert-jax.tar.gz -C interbert-jax'
}

install() {
  on_hosts all 'cd interbert-jax && ./run.sh -m pip install -q "jax[tpu]"'
}

start() {
  local command
  command=$(printf '%q ' "$@")--distributed
  # The shell outlives a SIGTERM to its group, to write the status down.
  on_hosts all "cd interbert-jax || exit 1
if kill -0 \"\$(cat pod.pid 2>/dev/null)\" 2>/dev/null; then
  echo 'a command is running here: stop it first' >&2; exit 1
fi
rm -f pod.status
nohup setsid bash -c $(printf %q "trap : TERM
./run.sh $command
echo \$? > pod.status") >> pod.log 2>&1 < /dev/null &
echo \$! > pod.pid"
}

wait_for_end() {
  on_hosts 0 'cd interbert-jax || exit 1
while kill -0 "$(cat pod.pid)" 2>/dev/null; do sleep 10; done
exit "$(cat pod.status)"'
}

delete() {
  if [ -n "$queued" ]; then
    "${tpu[@]}" queued-resources delete "$name" --zone="$zone" --force --quiet
  else
    "${tpu[@]}" tpu-vm delete "$name" --zone="$zone" --quiet
  fi
}

case "$verb" in
  create) create ;;
  queue)
    "${tpu[@]}" queued-resources create "$name" --node-id="$name" \
      --zone="$zone" --accelerator-type="$type" \
      --runtime-version="$version" ${spot:+"$spot"}
    ;;
  copy) copy ;;
  install) install ;;
  start) start "$@" ;;
  logs) on_hosts "$worker" 'tail -n 100 -F interbert-jax/pod.log' ;;
  wait) wait_for_end ;;
  stop)
    on_hosts all 'cd interbert-jax || exit 1
kill -TERM -- "-$(cat pod.pid)"
while kill -0 "$(cat pod.pid)" 2>/dev/null; do sleep 2; done'
    ;;
  delete) delete ;;
  run)
    spot=--spot
    while true; do
      status=0
      create && copy && install && start "$@" && wait_for_end || status=$?
      [ "$status" != 0 ] || exit 0
      state=$("${tpu[@]}" tpu-vm describe "$name" --zone="$zone" \
        --format='value(state)' || echo GONE)
      # It is still there: the command itself has failed.
      [ "$state" != READY ] || [ "$status" = 85 ] || exit "$status"
      echo "launch/tpu_pod.sh: the pod is $state; making it again" >&2
      delete || true
      sleep "${RETRY_SECONDS:-60}"
    done
    ;;
esac
