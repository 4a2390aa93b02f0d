#!/usr/bin/env bash
# Several processes on this machine that work as one: a stand-in for a pod.
#
#   launch/local.sh N [--devices=D] COMMAND...
#
#   N            processes
#   --devices=D  each has D CPU devices
#
# COMMAND gets --coordinator_address, --num_processes and --process_id behind
# its own words. Lines of process I begin with "[I] ". The first status that is
# not 0 ends all, and is the script's; SIGTERM and Ctrl-C go to every process.
#
#   launch/local.sh 2 --devices=2 python main.py --config=configs/quickstart.py

set -euo pipefail

fail() {
  echo "launch/local.sh: $*; see --help" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
  "") fail "missing: N, the number of processes" ;;
  *[!0-9]* | 0) fail "N is '$1'; wanted a number from 1 on" ;;
esac
count=$1
shift
if [[ ${1-} = --devices=* ]]; then
  devices=${1#*=}
  [[ $devices =~ ^[1-9][0-9]*$ ]] || fail "$1: wanted a number from 1 on"
  export JAX_PLATFORMS=cpu
  XLA_FLAGS="${XLA_FLAGS-} --xla_force_host_platform_device_count=$devices"
  export XLA_FLAGS
  shift
fi
[ $# -gt 0 ] || fail "missing: COMMAND, such as python main.py ..."

# A port nobody answers at.
port=$((20000 + RANDOM % 12000))
while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
  port=$((port + 1))
done

# Line by line, where sed would keep them back.
prefix() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%s] %s\n' "$1" "$line"
  done
}

# Each process is a group of its own: Ctrl-C at the terminal reaches this
# script alone, which hands it on once.
set -m
pids=()
for ((i = 0; i < count; i++)); do
  "$@" "--coordinator_address=127.0.0.1:$port" "--num_processes=$count" \
    "--process_id=$i" > >(prefix "$i") 2> >(prefix "$i" >&2) &
  pids+=($!)
done

tell() {
  local pid
  for pid in "${pids[@]}"; do
    kill "-$1" "$pid" 2>/dev/null || true
  done
}
trap 'tell TERM' TERM
trap 'tell INT' INT

status=0
failed=-1 # tenths of a second since the first failure
while [ ${#pids[@]} -gt 0 ]; do
  left=()
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      left+=("$pid")
      continue
    fi
    ended=0
    wait "$pid" || ended=$?
    if [ "$ended" != 0 ] && [ "$status" = 0 ]; then
      status=$ended
      failed=0
    fi
  done
  pids=(${left[@]+"${left[@]}"})
  if [ "$failed" -ge 0 ]; then
    # First they may find out and say so themselves.
    [ "$failed" != 20 ] || tell TERM
    [ "$failed" != 120 ] || tell KILL
    failed=$((failed + 1))
  fi
  sleep 0.1
done
exit "$status"
