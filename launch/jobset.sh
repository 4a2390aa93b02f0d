#!/usr/bin/env bash
# A run on plain Kubernetes, as a JobSet with one pod for each host.
#
#   launch/jobset.sh print  RUN --image=I --hosts=N [options] -- COMMAND...
#   launch/jobset.sh apply  RUN --image=I --hosts=N [options] -- COMMAND...
#   launch/jobset.sh delete RUN
#
#   --image         with this code in its working directory and jax[k8s]
#   --resource=K=V  of each host, such as nvidia.com/gpu=8 or google.com/tpu=4
#   --selector=K=V  label of the nodes; may be repeated
#   --claim=NAME    volume claim (ReadWriteMany), mounted at /mnt/runs
#   --max-restarts  of the whole run; 50 by default
#
# JAX finds the hosts itself, for which the pods' account may list pods, jobs
# and services. A pod that ends with status 0 counts as done, so pass
# --config.train.preempt_exit_code=85; status 2, a mistake in the settings, is
# not tried again. COMMAND: python main.py --config=... --workdir=/mnt/runs/RUN

set -euo pipefail

fail() {
  echo "launch/jobset.sh: $*; see --help" >&2
  exit 2
}

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
  print | apply | delete) ;;
  "") fail "missing: what to do (print, apply, delete)" ;;
  *) fail "'$1' is unknown" ;;
esac
verb=$1
shift
run=${1-}
case "$run" in "" | -*) fail "missing: RUN, its name" ;; esac
[[ $run =~ ^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$ ]] ||
  fail "RUN is '$run'; wanted small letters, digits and -, at most 32"
shift
if [ "$verb" = delete ]; then
  exec kubectl delete jobset "$run"
fi

image='' hosts='' claim='' restarts=50 resources='' selectors=''
while [ $# -gt 0 ]; do
  case "$1" in
    --image=?*) image=${1#*=} ;;
    --hosts=?*) hosts=${1#*=} ;;
    --claim=?*) claim=${1#*=} ;;
    --max-restarts=?*) restarts=${1#*=} ;;
    --resource=?*=?*)
      pair=${1#*=}
      resources+="
                  ${pair%=*}: \"${pair##*=}\""
      ;;
    --selector=?*=?*)
      pair=${1#*=}
      selectors+="
              ${pair%=*}: \"${pair##*=}\""
      ;;
    --)
      shift
      break
      ;;
    *) fail "'$1' is unknown" ;;
  esac
  shift
done
[ -n "$image" ] || fail "missing: --image"
[[ $hosts =~ ^[1-9][0-9]*$ ]] || fail "missing: --hosts, a number from 1 on"
[ $# -gt 0 ] || fail "missing: -- COMMAND"

manifest() {
  cat <<END
apiVersion: v1
kind: ServiceAccount
metadata:
  name: $run
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: $run
rules:
- apiGroups: ["", "batch"]
  resources: ["pods", "services", "jobs"]
  verbs: ["get", "list"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: $run
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: $run
subjects:
- kind: ServiceAccount
  name: $run
---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $run
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
    - action: FailJobSet # a mistake: it would be made again
      onJobFailureReasons: ["PodFailurePolicy"]
  replicatedJobs:
  - name: hosts
    replicas: 1
    template:
      spec:
        parallelism: $hosts
        completions: $hosts
        completionMode: Indexed
        backoffLimit: 0
        podFailurePolicy:
          rules:
          - action: FailJob
            onExitCodes:
              operator: In
              values: [2]
        template:
          spec:
            serviceAccountName: $run
            restartPolicy: Never
            terminationGracePeriodSeconds: 120
END
  if [ -n "$selectors" ]; then
    echo "            nodeSelector:$selectors"
  fi
  cat <<END
            containers:
            - name: run
              image: $image
              command:
END
  local word
  for word in "$@" --distributed; do
    word=${word//\\/\\\\}
    echo "              - \"${word//\"/\\\"}\""
  done
  if [ -n "$resources" ]; then
    echo "              resources:
                limits:$resources"
  fi
  if [ -n "$claim" ]; then
    cat <<END
              volumeMounts:
              - name: runs
                mountPath: /mnt/runs
            volumes:
            - name: runs
              persistentVolumeClaim:
                claimName: $claim
END
  fi
}

case "$verb" in
  print) manifest "$@" ;;
  apply) manifest "$@" | kubectl apply -f - ;;
esac
