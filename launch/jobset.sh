#!/usr/bin/env bash
# A JobSet for any Kubernetes cluster that has the JobSet controller.
#
#   launch/jobset.sh --name=NAME --image=IMAGE --hosts=N [OPTIONS] -- COMMAND...
#
#   --gpus=8             of each host (nvidia.com/gpu)
#   --claim=CLAIM        a volume claim, mounted at /data on every host
#   --max-restarts=50    how often all hosts are started again together
#   --grace=120          seconds between SIGTERM and the end of a pod
#   --print              prints the manifest instead of applying it
#
# Each host runs COMMAND with --coordinator_address, --num_processes and
# --process_id: nothing is asked of the cluster, no service account is needed.
set -euo pipefail

fail() {
  echo "jobset.sh: $*" >&2
  exit 2
}

name='' image='' hosts='' gpus='' claim='' restarts=50 grace=120
apply=(kubectl apply -f -)
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '2,13s/^# \{0,1\}//p' "$0"
      exit
      ;;
    --name=*) name=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --hosts=*) hosts=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --claim=*) claim=${1#*=} ;;
    --max-restarts=*) restarts=${1#*=} ;;
    --grace=*) grace=${1#*=} ;;
    --print) apply=(cat) ;;
    --)
      shift
      break
      ;;
    *) fail "unexpected argument '$1' (--help)" ;;
  esac
  shift
done
[ -n "$name" ] || fail "--name is missing"
[ -n "$image" ] || fail "--image is missing"
case "$hosts" in
  '' | *[!0-9]* | 0) fail "--hosts is '$hosts'; wanted their number" ;;
esac
[ $# -gt 0 ] || fail "the command is missing: -- python main.py --config=..."

# Kubernetes starts again only what ended with a status that is not 0.
case " $* " in
  *' main.py '*) set -- "$@" --config.train.preempt_exit_code=85 ;;
esac

# As JSON, which is YAML, so that no argument can end a string.
strings() {
  python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"
}

# The controller's names: JOBSET-JOB-INDEX-POD.JOBSET. Kubernetes puts the
# variable in.
# shellcheck disable=SC2016
command=$(strings "$@" \
  "--coordinator_address=$name-hosts-0-0.$name:8476" \
  "--num_processes=$hosts" '--process_id=$(JOB_COMPLETION_INDEX)')
read -r quoted_name quoted_image quoted_claim < <(python3 -c '
import json, sys
print(*map(json.dumps, sys.argv[1:]))' "$name" "$image" "$claim")

{
  cat <<YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $quoted_name
spec:
  failurePolicy:
    maxRestarts: $restarts
  network:
    enableDNSHostnames: true
  replicatedJobs:
  - name: hosts
    replicas: 1
    template:
      spec:
        completionMode: Indexed
        completions: $hosts
        parallelism: $hosts
        backoffLimit: 0
        template:
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: $grace
            containers:
            - name: train
              image: $quoted_image
              command: $command
              env:
              - name: JOB_COMPLETION_INDEX
                valueFrom:
                  fieldRef:
                    fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
              ports:
              - containerPort: 8476
YAML
  if [ -n "$gpus" ]; then
    cat <<YAML
              resources:
                limits:
                  nvidia.com/gpu: $gpus
YAML
  fi
  if [ -n "$claim" ]; then
    cat <<YAML
              volumeMounts:
              - name: data
                mountPath: /data
            volumes:
            - name: data
              persistentVolumeClaim:
                claimName: $quoted_claim
YAML
  fi
} | "${apply[@]}"
