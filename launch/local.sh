#!/usr/bin/env bash
# Several processes on this machine as one run: a pod in small.
#
#   launch/local.sh N [--devices=D] COMMAND...
#   launch/local.sh 2 --devices=4 ./run.sh main.py --config=configs/quickstart.py
#
# Each process gets --coordinator_address, --num_processes and --process_id at
# the end of its command, and with --devices that many devices of the CPU. Their
# lines begin with the number of the process. When one of them fails the others
# are stopped, and its status is the status of all. SIGTERM and Ctrl-C go to all.
set -euo pipefail

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0"
}

fail() {
  echo "local.sh: $*" >&2
  exit 2
}

case "${1-}" in
  -h | --help) usage; exit ;;
  '' | *[!0-9]* | 0) fail "N is '${1-}'; wanted the number of processes (--help)" ;;
esac
count=$1
shift
case "${1-}" in
  --devices=*)
    export JAX_PLATFORMS=cpu
    flag=--xla_force_host_platform_device_count=${1#*=}
    export XLA_FLAGS="${XLA_FLAGS:-} $flag"
    shift
    ;;
esac
[ $# -gt 0 ] || fail "the command is missing (--help)"

# A free port, unless PORT names one.
port=${PORT:-$(python3 -c 'import socket
with socket.socket() as s:
  s.bind(("127.0.0.1", 0))
  print(s.getsockname()[1])')}

pids=()
for ((i = 0; i < count; i++)); do
  "$@" --coordinator_address="127.0.0.1:$port" --num_processes="$count" \
    --process_id="$i" \
    > >(sed -u "s/^/[$i] /") 2> >(sed -u "s/^/[$i] /" >&2) &
  pids+=($!)
done

pass_on() {
  kill "-$1" "${pids[@]}" 2>/dev/null || true
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

status=0
while [ ${#pids[@]} -gt 0 ]; do
  # Ends with the next process, or with a signal to this script.
  wait -n "${pids[@]}" || true
  running=()
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      running+=("$pid")
      continue
    fi
    code=0
    wait "$pid" || code=$?
    if [ $status -eq 0 ] && [ $code -ne 0 ]; then
      status=$code
      pass_on TERM
    fi
  done
  pids=("${running[@]}")
done
exit $status
