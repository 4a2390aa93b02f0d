#!/usr/bin/env bash
# A workload on Google Kubernetes Engine, by xpk.
#
#   launch/xpk.sh VERB --cluster=CLUSTER [OPTIONS] [-- COMMAND...]
#
#   create    --workload=NAME --image=IMAGE and --tpu-type=v5litepod-16, or
#             --device-type=h100-80gb-8 [--num-nodes=2]; starts COMMAND with
#             --distributed on every host, up to --max-restarts=50 times again
#   list      the workloads of the cluster
#   delete    --workload=NAME
#
# --project=ID and --zone=ZONE are passed on to xpk.
set -euo pipefail

fail() {
  echo "xpk.sh: $*" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit
    ;;
  create | list | delete) ;;
  *) fail "VERB is '${1-}'; wanted create, list or delete (--help)" ;;
esac
verb=$1
shift
workload='' image='' restarts=50 cluster=''
common=() devices=()
while [ $# -gt 0 ]; do
  case "$1" in
    --cluster=*) cluster=${1#*=} ;;
    --workload=*) workload=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --max-restarts=*) restarts=${1#*=} ;;
    --project=* | --zone=*) common+=("$1") ;;
    --tpu-type=* | --num-slices=* | --device-type=* | --num-nodes=*)
      devices+=("$1")
      ;;
    --)
      shift
      break
      ;;
    *) fail "unexpected argument '$1' (--help)" ;;
  esac
  shift
done
[ -n "$cluster" ] || fail "--cluster is missing"
common=(--cluster="$cluster" "${common[@]}")
[ "$verb" != list ] || exec xpk workload list "${common[@]}"
[ -n "$workload" ] || fail "--workload is missing"
[ "$verb" != delete ] ||
  exec xpk workload delete "${common[@]}" --workload="$workload"

[ -n "$image" ] || fail "--image is missing"
[ ${#devices[@]} -gt 0 ] || fail "--tpu-type or --device-type is missing"
[ $# -gt 0 ] || fail "the command is missing: -- python main.py --config=..."
# Kubernetes starts again only what ended with a status that is not 0.
case " $* " in
  *' main.py '*) set -- "$@" --config.train.preempt_exit_code=85 ;;
esac
printf -v quoted '%q ' "$@" --distributed
exec xpk workload create "${common[@]}" --workload="$workload" \
  "${devices[@]}" --base-docker-image="$image" --max-restarts="$restarts" \
  --command="${quoted% }"
