#!/usr/bin/env bash
# One command from a fresh clone to a trained, evaluated model, or to a test run.
#
#   ./run.sh                    the quick start: data, training, evaluation
#   ./run.sh --shapes           the same without any download but pip's
#   ./run.sh --config.train.steps=300   the quick start with other settings
#   ./run.sh test [arguments]   the tests; arguments go to pytest
#   ./run.sh main.py --config=configs/pretrain_en.py ...    any script, any flags
#
# What is done already is not done again. PYTHON names the interpreter to make
# the environment with, VENV its directory, WORKDIR the quick start's run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV=${VENV:-.venv}
# On a CPU each step takes fresh memory; in huge pages it is 1.5 times as fast
# (docs/performance.md). Where Linux or its C library has none, nothing changes.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
CANDIDATES=${PYTHON:-python3.12 python3.11 python3.13 python3 python}

fail() {
  echo "run.sh: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in $CANDIDATES; do
    if "$candidate" -c 'import sys
sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.11, 3.12 or 3.13 (TensorFlow has no other) among:" \
    "$CANDIDATES; install one, or name it: PYTHON=/path/to/python ./run.sh"
}

# What pip is doing, in a line for each package.
say_packages() {
  awk '/^ *Collecting / { print "  fetching " $2; fflush() }
    /^Installing collected packages/ { print "  unpacking"; fflush() }'
}

# Installs a requirements file once; again when one of them has changed.
install() {
  local file=$1 python mark
  if [ ! -x "$VENV/bin/python" ]; then
    python=$(find_python)
    echo "Making $VENV with $python" >&2
    "$python" -m venv "$VENV" ||
      fail "$python -m venv failed; on Debian: apt install python3-venv"
  fi
  mark="$VENV/.installed-$file-$(cat requirements*.txt | cksum | cut -d' ' -f1)"
  if [ ! -e "$mark" ]; then
    echo "Installing $file (once, about a minute with a fast network) ..." >&2
    if command -v uv >/dev/null; then
      uv pip install --python "$VENV/bin/python" -r "$file"
    else
      # What is never imported need not be compiled.
      "$VENV/bin/python" -m pip install --disable-pip-version-check \
        --no-compile --progress-bar off -r "$file" | say_packages >&2
    fi
    touch "$mark"
  fi
}

# $1: openmoji or shapes; the rest goes to main.py.
quickstart() {
  local mode=$1 config=configs/quickstart.py
  shift
  [ "$mode" = openmoji ] || config=$config:$mode
  local workdir=${WORKDIR:-runs/quickstart_$mode}
  local result=$workdir/eval/retrieval_test.json
  "$VENV/bin/python" -m tools.sample_data --mode="$mode"
  # Ctrl-C ends training with a status of its own, and this script with it.
  "$VENV/bin/python" main.py --config="$config" --workdir="$workdir" \
    --config.train.preempt_exit_code=130 "$@"
  # metrics.jsonl is written anew by every training.
  if [ ! "$result" -nt "$workdir/metrics.jsonl" ]; then
    "$VENV/bin/python" eval_retrieval.py --workdir="$workdir" --split=test \
      --output="$result"
  fi
  cat <<END

Done. Zero-shot retrieval over all pairs of the test scenes:
  metrics   $result
  plots     $workdir/plots/loss.png
  workdir   $workdir
Next: README.md, "Your own features".
END
}

case "${1-}" in
  -h | --help)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    ;;
  "" | --*)
    mode=openmoji
    if [ "${1-}" = --shapes ]; then
      mode=shapes
      shift
    fi
    install requirements.txt
    quickstart "$mode" "$@"
    ;;
  test)
    shift
    install requirements-dev.txt
    exec "$VENV/bin/python" -m pytest "$@"
    ;;
  *)
    install requirements.txt
    exec "$VENV/bin/python" "$@"
    ;;
esac
