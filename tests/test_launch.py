"""The launch scripts against stand-ins that write down what they are told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

LAUNCH = ROOT / "launch"
GOLDEN = ROOT / "tests/golden/launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))

# Writes a line of JSON for each call; says what FAKE_SAYS tells it to.
STAND_IN = """#!{python}
import json, os, sys
read = "" if sys.stdin.isatty() else sys.stdin.read()
row = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(os.environ["CALLS"], "a") as file:
  file.write(json.dumps(row + (["<", read] if read else [])) + "\\n")
said = json.loads(os.environ.get("SAYS", "{{}}"))
for word, text in said.items():
  if word in " ".join(row):
    print(text.pop(0) if isinstance(text, list) else text)
"""
TRAIN = "-- ./run.sh main.py --config=configs/pretrain_en.py --workdir=/data/en"
CASES = {
  "tpu_create": "tpu_pod.sh create --name=pod --zone=z --type=v3-32",
  "tpu_queue": "tpu_pod.sh queue --name=pod --zone=z --type=v5litepod-64 "
  "--version=v2-alpha-tpuv5-lite --project=p",
  "tpu_copy": "tpu_pod.sh copy --name=pod --zone=z",
  "tpu_install": "tpu_pod.sh install --name=pod --zone=z",
  "tpu_start": f"tpu_pod.sh start --name=pod --zone=z {TRAIN}",
  "tpu_logs": "tpu_pod.sh logs --name=pod --zone=z --worker=3",
  "tpu_stop": "tpu_pod.sh stop --name=pod --zone=z",
  "tpu_delete": "tpu_pod.sh delete --name=pod --zone=z",
  "xpk_tpu": "xpk.sh create --cluster=c --workload=en --project=p --zone=z "
  f"--tpu-type=v5litepod-16 --num-slices=1 --image=i {TRAIN}",
  "xpk_gpu": "xpk.sh create --cluster=c --workload=en --num-nodes=2 "
  f"--device-type=h100-80gb-8 --image=i {TRAIN}",
  "xpk_list": "xpk.sh list --cluster=c",
  "xpk_delete": "xpk.sh delete --cluster=c --workload=en",
  "jobset": "jobset.sh --name=en --image=i --hosts=4 --gpus=8 --claim=data "
  f"{TRAIN}",
  "slurm_gpu": f"slurm.sh --nodes=2 --gpus=8 --partition=p {TRAIN}",
  "slurm_node": "slurm.sh --nodes=2 --gpus=2 --per=node --time=1:00:00 "
  "-- ./run.sh eval_retrieval.py --workdir=/data/en",
}


@pytest.fixture
def stand_ins(tmp_path):
  """Runs a script and returns (the finished process, the calls it made)."""
  folder = tmp_path / "bin"
  folder.mkdir()
  for name in ("gcloud", "xpk", "kubectl", "sbatch", "srun", "sleep"):
    path = folder / name
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
  calls = tmp_path / "calls.jsonl"

  def run(arguments, says=None):
    done = subprocess.run(
      ["bash", *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
      stdin=subprocess.DEVNULL,
      timeout=60,
      env={
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "SAYS": json.dumps(says or {}),
      },
    )
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done, [json.loads(line) for line in lines]

  return run


def without_paths(calls):
  """Temporary files have another name each time."""
  return json.loads(re.sub(r"/tmp/[\w./-]*/", "/tmp/", json.dumps(calls)))


@pytest.mark.parametrize("name", CASES)
def test_what_is_called(name, stand_ins, monkeypatch, tmp_path):
  monkeypatch.setenv("TMPDIR", "/tmp")
  script, *arguments = CASES[name].split()
  if name == "tpu_copy":
    arguments.append(f"--directory={tmp_path}")  # not the whole checkout
    (tmp_path / "main.py").write_text("")
  done, calls = stand_ins([LAUNCH / script, *arguments])
  assert done.returncode == 0, done.stderr
  path = GOLDEN / f"{name}.json"
  if os.environ.get("UPDATE_GOLDEN"):
    path.write_text(json.dumps(without_paths(calls), indent=1) + "\n")
  assert without_paths(calls) == json.loads(path.read_text())


def test_a_pod_that_is_taken_away_is_asked_for_again(stand_ins):
  """The first is gone after the start; on the second the run ends."""
  arguments = "run --name=pod --zone=z --type=v3-32".split()
  done, calls = stand_ins(
    [LAUNCH / "tpu_pod.sh", *arguments, *TRAIN.split()],
    says={"kill -0": "ended"},
  )
  assert done.returncode == 0, done.stderr
  assert "the run has ended" in done.stderr
  verbs = [call[4] for call in calls if call[0] == "gcloud"]
  assert verbs[:4] == ["scp", "ssh", "ssh", "ssh"]


def test_a_detached_run_is_found_and_stopped(stand_ins, tmp_path):
  """What ssh would do is done here, by the same lines."""
  host = tmp_path / "interbert-jax"
  host.mkdir()
  script = (
    "trap 'echo saved; exit' TERM; echo begun $*; while :; do sleep .1; done"
  )
  (host / "run.sh").write_text(f"#!/bin/bash\n{script}\n")
  (host / "run.sh").chmod(0o755)
  pod = ["--name=n", "--zone=z"]

  def there(verb, *more):
    _, calls = stand_ins([LAUNCH / "tpu_pod.sh", verb, *pod, *more])
    line = calls[-1][-1].removeprefix("--command=")
    return subprocess.run(["bash", "-c", line], cwd=tmp_path, timeout=10)

  def wait_for(text):
    for _ in range(100):
      if text in (host / "train.log").read_text():
        return
      time.sleep(0.05)
    raise AssertionError((host / "train.log").read_text())

  assert there("start", *TRAIN.split()).returncode == 0
  wait_for("begun main.py --config=")
  assert there("stop").returncode == 0
  wait_for("saved")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script):
  done = subprocess.run(
    [LAUNCH / script, "--help"], capture_output=True, text=True
  )
  assert done.returncode == 0
  assert f"launch/{script} " in done.stdout
  assert "set -euo" not in done.stdout


@pytest.mark.parametrize(
  ("command", "message"),
  [
    ("tpu_pod.sh", "VERB is ''"),
    ("tpu_pod.sh start --zone=z", "--name is missing"),
    ("tpu_pod.sh start --name=a", "--zone is missing"),
    ("tpu_pod.sh create --name=a --zone=z", "--type is missing"),
    ("tpu_pod.sh start --name=a --zone=z", "the command is missing"),
    ("tpu_pod.sh start --nam=a", "unexpected argument '--nam=a'"),
    ("xpk.sh create --workload=a", "--cluster is missing"),
    ("xpk.sh create --cluster=a --workload=b", "--image is missing"),
    ("xpk.sh create --cluster=a --workload=b --image=i", "--tpu-type or"),
    ("jobset.sh --name=a --image=b", "--hosts is ''"),
    ("jobset.sh --name=a --image=b --hosts=2", "the command is missing"),
    ("slurm.sh --gpus=8", "--nodes is missing"),
    ("slurm.sh --nodes=1 --gpus=many", "--gpus is 'many'"),
    ("slurm.sh --nodes=1 --gpus=0 -- a", "--per=gpu without GPUs"),
    ("local.sh two", "N is 'two'"),
    ("local.sh 2", "the command is missing"),
  ],
)
def test_what_is_missing_is_named(command, message, stand_ins):
  script, *arguments = command.split()
  done, calls = stand_ins([LAUNCH / script, *arguments])
  assert done.returncode == 2
  assert message in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert calls == []


def test_arguments_keep_their_spaces_and_quotes(stand_ins):
  words = ["main.py", "--config.allow_changes=('optim.lr',)", "a b$HOME"]
  for script, *arguments in (
    ("tpu_pod.sh", "start", "--name=n", "--zone=z"),
    ("slurm.sh", "--nodes=1", "--gpus=1"),
    (
      *("xpk.sh", "create", "--cluster=c", "--workload=w"),
      *("--tpu-type=t", "--image=i"),
    ),
  ):
    _, calls = stand_ins(
      [LAUNCH / script, *arguments, "--", "print-words", *words]
    )
    # As the shell at the other end takes it apart.
    line = calls[-1][-1].partition("print-words")[2].partition("\n")[0]
    line = line.partition(" > train.log")[0]
    found = subprocess.run(
      ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert found[:3] == words
    assert "--distributed" in found


WORKER = """
import signal, sys, time
number = sys.argv[-1][-1]
def stopped(*_):
  print("stopped", flush=True)
  sys.exit(7)
signal.signal(signal.SIGTERM, stopped)
print(*sys.argv[2:], flush=True)
if sys.argv[1] == "fail" and number == "1":
  print("no", file=sys.stderr)
  sys.exit(5)
if sys.argv[1] != "end":
  time.sleep(30)
"""


def local(*arguments, **options):
  command = [LAUNCH / "local.sh", "2", sys.executable, "-c", WORKER]
  return subprocess.Popen(
    [*command, *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **options,
  )


def test_local_processes_are_numbered():
  out, err = (process := local("end", "x")).communicate(timeout=20)
  assert process.returncode == 0 and err == ""
  found = sorted(out.splitlines())
  for number in range(2):
    assert re.fullmatch(
      rf"\[{number}\] x --coordinator_address=127.0.0.1:\d+ "
      rf"--num_processes=2 --process_id={number}",
      found[number],
    )


def test_a_local_process_that_fails_ends_the_others():
  began = time.monotonic()
  out, err = (process := local("fail")).communicate(timeout=20)
  assert process.returncode == 5
  assert "[0] stopped" in out and "[1] no" in err
  assert time.monotonic() - began < 10


def test_local_processes_get_the_signal():
  process = local("wait")
  for _ in range(2):
    process.stdout.readline()  # both handlers are there
  process.send_signal(signal.SIGTERM)
  out, _ = process.communicate(timeout=20)
  assert process.returncode == 7
  assert sorted(out.splitlines()) == ["[0] stopped", "[1] stopped"]


def test_the_page_names_scripts_that_there_are():
  text = (ROOT / "docs/pods.md").read_text()
  named = set(re.findall(r"launch/(\w+\.sh)", text))
  assert named == set(SCRIPTS)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
def test_shellcheck():
  done = subprocess.run(
    ["shellcheck", ROOT / "run.sh", *(LAUNCH / name for name in SCRIPTS)],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout
