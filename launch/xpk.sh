#!/usr/bin/env bash
# A run on GKE through xpk, on TPUs or GPUs.
#
#   launch/xpk.sh create RUN --cluster=C --project=P --zone=Z --image=I
#       (--tpu-type=T [--slices=1] | --device-type=T [--nodes=1])
#       [--max-restarts=50] -- python main.py --config=... --workdir=...
#   launch/xpk.sh list   --cluster=C --project=P --zone=Z
#   launch/xpk.sh delete RUN --cluster=C --project=P --zone=Z
#
#   --image         with this code in its working directory; see docs/pods.md
#   --tpu-type      such as v5litepod-16; --device-type such as h100-80gb-8
#   --max-restarts  how often it may start again, as after a spot node is taken

set -euo pipefail

fail() {
  echo "launch/xpk.sh: $*; see --help" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
  create | list | delete) ;;
  "") fail "missing: what to do (create, list, delete)" ;;
  *) fail "'$1' is unknown" ;;
esac
verb=$1
shift
run=()
if [ "$verb" != list ]; then
  case "${1-}" in "" | -*) fail "missing: RUN, its name" ;; esac
  run=(--workload "$1")
  shift
fi

where=() cluster='' project='' zone='' image='' restarts=50
tpu='' device='' slices=1 nodes=1
while [ $# -gt 0 ]; do
  case "$1" in
    --cluster=?*) cluster=${1#*=} ;;
    --project=?*) project=${1#*=} ;;
    --zone=?*) zone=${1#*=} ;;
    --image=?*) image=${1#*=} ;;
    --tpu-type=?*) tpu=${1#*=} ;;
    --slices=?*) slices=${1#*=} ;;
    --device-type=?*) device=${1#*=} ;;
    --nodes=?*) nodes=${1#*=} ;;
    --max-restarts=?*) restarts=${1#*=} ;;
    --)
      shift
      break
      ;;
    *) fail "'$1' is unknown" ;;
  esac
  shift
done
for need in cluster project zone; do
  [ -n "${!need}" ] || fail "missing: --$need"
done
where=(--cluster "$cluster" --project "$project" --zone "$zone")

if [ "$verb" != create ]; then
  exec xpk workload "$verb" ${run[@]+"${run[@]}"} "${where[@]}"
fi
[ -n "$image" ] || fail "missing: --image"
[ -n "$tpu$device" ] || fail "missing: --tpu-type or --device-type"
[ -z "$tpu" ] || [ -z "$device" ] || fail "--tpu-type or --device-type, not both"
[ $# -gt 0 ] || fail "missing: -- COMMAND"
if [ -n "$tpu" ]; then
  machines=(--tpu-type "$tpu" --num-slices "$slices")
else
  machines=(--device-type "$device" --num-nodes "$nodes")
fi
exec xpk workload create "${run[@]}" "${where[@]}" "${machines[@]}" \
  --docker-image "$image" --max-restarts "$restarts" \
  --command "$(printf '%q ' "$@")--distributed"
