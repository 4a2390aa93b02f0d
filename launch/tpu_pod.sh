#!/usr/bin/env bash
# A Cloud TPU pod by ssh, step by step.
#
#   launch/tpu_pod.sh VERB --name=NAME --zone=ZONE [OPTIONS] [-- COMMAND...]
#
#   create    makes the pod: --type=v3-32 --version=tpu-ubuntu2204-base
#   queue     the same as a queued resource, spot unless --no-spot
#   copy      this checkout (or --directory=DIR) to every host, without .venv,
#             runs and .git
#   install   the environment on every host, with JAX for TPU
#   start     COMMAND on every host, detached, with --distributed at its end
#   logs      follows the log of a host: --worker=0
#   stop      SIGTERM to the run on every host: it saves and ends
#   run       copy, install and start; and again, with a new pod, whenever the
#             pod was taken away (queued resources)
#   delete    gives the pod back
#
#   launch/tpu_pod.sh start --name=pod --zone=us-central2-b -- ./run.sh main.py \
#     --config=configs/pretrain_en.py --workdir=/mnt/share/runs/en
#
# --project=ID is passed on to gcloud. docs/pods.md goes through all of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "tpu_pod.sh: $*" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit
    ;;
  create | queue | copy | install | start | logs | stop | run | delete) ;;
  *) fail "VERB is '${1-}'; see --help" ;;
esac
verb=$1
shift
name='' zone='' type='' version=tpu-ubuntu2204-base spot=--spot worker=0
from=. directory=interbert-jax wait=60
common=()
while [ $# -gt 0 ]; do
  case "$1" in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --worker=*) worker=${1#*=} ;;
    --directory=*) from=${1#*=} ;;
    --project=*) common+=("$1") ;;
    --no-spot) spot='' ;;
    --)
      shift
      break
      ;;
    *) fail "unexpected argument '$1'; see --help" ;;
  esac
  shift
done
[ -n "$name" ] || fail "--name is missing"
[ -n "$zone" ] || fail "--zone is missing"
common+=("--zone=$zone")

on() { # $1: worker or all; $2: what to do there
  gcloud compute tpus tpu-vm ssh "$name" "${common[@]}" --worker="$1" \
    --command="$2"
}

create() {
  [ -n "$type" ] || fail "--type is missing, such as --type=v3-32"
  gcloud compute tpus tpu-vm create "$name" "${common[@]}" \
    --accelerator-type="$type" --version="$version"
}

queue() {
  [ -n "$type" ] || fail "--type is missing, such as --type=v3-32"
  gcloud compute tpus queued-resources create "$name" --node-id="$name" \
    "${common[@]}" --accelerator-type="$type" --runtime-version="$version" \
    ${spot:+"$spot"}
}

copy() {
  local packed
  packed=$(mktemp -d)
  tar --exclude=./.venv --exclude=./.git --exclude=./runs \
    -czf "$packed/$directory.tar.gz" -C "$from" .
  gcloud compute tpus tpu-vm scp "$packed/$directory.tar.gz" "$name:" \
    "${common[@]}" --worker=all
  rm -rf "$packed"
  on all "mkdir -p $directory && tar -xzf $directory.tar.gz -C $directory"
}

install() {
  on all "cd $directory && ./run.sh -m pip install --quiet 'jax[tpu]'"
}

start() {
  [ $# -gt 0 ] || fail "the command is missing: -- ./run.sh main.py --config=..."
  local quoted
  printf -v quoted '%q ' "$@" --distributed
  # setsid: the run stays when this connection ends.
  on all "cd $directory && { nohup setsid ${quoted% } > train.log 2>&1 \
< /dev/null & echo \$! > train.pid; }"
}

# What a host answers: running, ended, or nothing where it is gone.
state() {
  on "$worker" "kill -0 \$(cat $directory/train.pid) 2>/dev/null \
&& echo running || echo ended" 2>/dev/null || true
}

run() {
  while true; do
    copy && install && start "$@" || echo "tpu_pod.sh: not started" >&2
    while [ "$(state)" = running ]; do sleep "$wait"; done
    if [ "$(state)" = ended ]; then
      echo "tpu_pod.sh: the run has ended; look at its log with 'logs'" >&2
      return
    fi
    echo "tpu_pod.sh: $name is gone; asking for another one" >&2
    gcloud compute tpus queued-resources delete "$name" "${common[@]}" \
      --force --quiet || true
    queue
    until on "$worker" true 2>/dev/null; do sleep "$wait"; done
  done
}

delete() {
  gcloud compute tpus tpu-vm delete "$name" "${common[@]}" --quiet
}

case "$verb" in
  logs) on "$worker" "tail -n 50 -f $directory/train.log" ;;
  stop) on all "kill -TERM \$(cat $directory/train.pid)" ;;
  *) "$verb" "$@" ;;
esac
