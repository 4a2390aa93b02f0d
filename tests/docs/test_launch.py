"""The scripts of launch/ against stand-ins that write down how they were
called; tests/golden/launch/ has what was wanted.

  INTERBERT_WRITE_GOLDEN=1 pytest tests/docs/test_launch.py    writes it anew
"""

import json
import os
import pathlib
import re
import shlex
import signal
import stat
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.doc_page import commands
from tests.support.scripts import LIMIT, run_python, wait_for

LAUNCH = ROOT / "launch"
GOLDEN = ROOT / "tests" / "golden" / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))
MAIN = "main.py --config=configs/pretrain_en.py --workdir=/mnt/runs/en"
# Words that need quotes wherever they go through a shell.
ODD = """--config.optim.rate_groups="(('a b/', 0.1),)" """

CASES = {
  "tpu_create": "tpu_pod.sh create pod --zone=z --type=v3-32",
  "tpu_create_spot": "tpu_pod.sh create pod --zone=z --type=v5litepod-16 "
  "--version=v2-alpha-tpuv5-lite --spot",
  "tpu_queue": "tpu_pod.sh queue pod --zone=z --type=v3-32 --spot",
  "tpu_copy": "tpu_pod.sh copy pod --zone=z",
  "tpu_install": "tpu_pod.sh install pod --zone=z",
  "tpu_start": f"tpu_pod.sh start pod --zone=z -- {MAIN} {ODD}",
  "tpu_logs": "tpu_pod.sh logs pod --zone=z --worker=3",
  "tpu_wait": "tpu_pod.sh wait pod --zone=z",
  "tpu_stop": "tpu_pod.sh stop pod --zone=z",
  "tpu_delete": "tpu_pod.sh delete pod --zone=z",
  "tpu_delete_queued": "tpu_pod.sh delete pod --zone=z --queued",
  "tpu_run": f"tpu_pod.sh run pod --zone=z --type=v3-32 -- {MAIN}",
  "slurm_node": "slurm.sh --nodes=2 --gpus=8 --time=24:00:00 "
  f"--partition=gpu -- python {MAIN} {ODD}",
  "slurm_gpu": f"slurm.sh --nodes=2 --gpus=8 --per=gpu -- python {MAIN}",
  "slurm_cpu": f"slurm.sh -- python {MAIN}",
}

# Writes a line of JSON for each call, and says what the test wants to be said.
STAND_IN = """#!{python}
import json, os, sys
call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
if call[0] == "sbatch" and not sys.stdin.isatty():
  call.append(sys.stdin.read())
with open(os.environ["CALLS"], "a") as file:
  file.write(json.dumps(call) + "\\n")
answers = json.loads(os.environ.get("ANSWERS", "{{}}"))
for words, (text, status) in answers.items():
  if words in " ".join(call):
    print(text)
    sys.exit(status)
"""


def write_program(path: pathlib.Path, text: str) -> None:
  path.write_text(text)
  path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def clusters(tmp_path, monkeypatch):
  """Stand-ins first in PATH; a function that gives their calls."""
  (tmp_path / "bin").mkdir()
  for name in ("gcloud", "xpk", "kubectl", "srun", "sbatch", "scontrol"):
    text = STAND_IN.format(python=sys.executable)
    write_program(tmp_path / "bin" / name, text)
  calls = tmp_path / "calls.jsonl"
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
  monkeypatch.setenv("CALLS", str(calls))

  def called():
    if not calls.exists():
      return []
    # Of a temporary archive only its name.
    text = re.sub(r"/[^ \"]*/(?=interbert-jax.tar.gz)", "", calls.read_text())
    return [json.loads(line) for line in text.splitlines()]

  return called


def shell(*words, cwd=ROOT, **options) -> subprocess.CompletedProcess:
  return subprocess.run(
    words, cwd=cwd, capture_output=True, text=True, timeout=LIMIT, **options
  )


def launch(words, **options) -> subprocess.CompletedProcess:
  script, *arguments = shlex.split(words) if isinstance(words, str) else words
  return shell(LAUNCH / script, *arguments, **options)


def readable(calls) -> str:
  """Calls for people: a word on each line, its lines below each other."""
  return "".join(
    "".join(f"{'  ' if n else ''}{word}\n" for n, word in enumerate(call))
    for call in calls
  )


@pytest.mark.parametrize("name", CASES)
def test_calls_are_the_golden_ones(clusters, name):
  done = launch(CASES[name])
  assert done.returncode == 0, done.stderr
  found, file = readable(clusters()), GOLDEN / f"{name}.txt"
  if os.environ.get("INTERBERT_WRITE_GOLDEN"):
    file.parent.mkdir(exist_ok=True)
    file.write_text(found)
  assert found == file.read_text()


def test_every_golden_file_is_compared():
  assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script):
  done = launch([script, "--help"])
  assert done.returncode == 0
  assert f"launch/{script} " in done.stdout
  assert not re.search(r"^#|set -euo", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("local.sh", "missing: N, the number of processes"),
    ("local.sh two", "N is 'two'"),
    ("local.sh 2", "missing: COMMAND"),
    ("local.sh 2 --devices=0 true", "--devices=0: wanted a number from 1 on"),
    ("tpu_pod.sh", "missing: what to do"),
    ("tpu_pod.sh begin pod", "'begin' is unknown"),
    ("tpu_pod.sh logs", "missing: NAME"),
    ("tpu_pod.sh logs pod", "missing: --zone"),
    ("tpu_pod.sh create pod --zone=z", "missing: --type"),
    ("tpu_pod.sh start pod --zone=z", "missing: -- COMMAND"),
    ("tpu_pod.sh logs pod --zone=z --workr=1", "'--workr=1' is unknown"),
    ("slurm.sh --nodes=2", "missing: -- COMMAND"),
    ("slurm.sh --per=gpu -- x", "missing: --gpus"),
    ("slurm.sh --per=core -- x", "wanted node or gpu"),
    ("slurm.sh main.py", "'main.py' is unknown"),
  ],
)
def test_what_is_missing_is_named(clusters, words, message):
  done = launch(words)
  assert done.returncode == 2 and clusters() == []
  assert message in done.stderr
  assert done.stderr.startswith(f"launch/{words.split()[0]}: ")


def test_a_pod_that_was_taken_away_is_made_again(clusters, monkeypatch):
  monkeypatch.setenv("RETRY_SECONDS", "0")
  answers = {"pod.status": ["", 1], "describe": ["READY", 0]}
  monkeypatch.setenv("ANSWERS", json.dumps(answers))
  words = CASES["tpu_run"]
  # The pod is there: the command has failed, and would fail again.
  done = launch(words)
  assert done.returncode == 1
  verbs = [call[4] for call in clusters()]
  assert verbs.count("create") == 1 and "delete" not in verbs
  # It is gone: again, until it cannot be had.
  answers["describe"][0] = "PREEMPTED"
  monkeypatch.setenv("ANSWERS", json.dumps(answers))
  pod = subprocess.Popen(
    (LAUNCH / "tpu_pod.sh", *words.split()[1:]),
    cwd=ROOT,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )

  def verbs_now():
    return [call[4] for call in clusters()[len(verbs) :]]

  wait_for(lambda: verbs_now().count("create") == 2)
  os.killpg(pod.pid, signal.SIGKILL)
  pod.wait()
  assert verbs_now().index("delete") < verbs_now().index("create", 1)


def test_what_a_host_of_a_pod_does(clusters, tmp_path):
  """start, wait and stop as a host runs them."""
  home = tmp_path / "interbert-jax"
  home.mkdir()
  write_program(
    home / "run.sh",
    "#!/usr/bin/env bash\ntrap 'echo saving; exit 85' TERM\n"
    'printf "<%s>" "$@"; echo\nwhile true; do sleep 0.05; done\n',
  )
  for verb in ("start", "stop", "wait"):
    assert launch(CASES[f"tpu_{verb}"]).returncode == 0
  start, stop, wait = (
    next(w for w in call if w.startswith("--command="))[10:]
    for call in clusters()
  )

  def host(command):
    return shell("bash", "-c", command, cwd=tmp_path)

  def log():
    return (home / "pod.log").read_text()

  assert host(start).returncode == 0
  wait_for(lambda: "\n" in log())
  words = "<--config.optim.rate_groups=(('a b/', 0.1),)><--distributed>"
  assert words in log()
  again = host(start)
  assert again.returncode == 1 and "stop it first" in again.stderr
  assert host(stop).returncode == 0
  assert "saving" in log()
  assert host(wait).returncode == 85


@pytest.mark.parametrize(("status", "requeued"), [(0, 0), (2, 0), (85, 1)])
def test_the_batch_script_of_slurm(clusters, monkeypatch, status, requeued):
  launch(CASES["slurm_node"])
  (call,) = clusters()
  monkeypatch.setenv("SLURM_JOB_ID", "7")
  monkeypatch.setenv("ANSWERS", json.dumps({"srun": ["", status]}))
  assert shell("bash", input=call[-1]).returncode == status
  step, *rest = clusters()[1:]
  wanted = ["srun", "--kill-on-bad-exit=1", "python"]
  assert step == [*wanted, *shlex.split(f"{MAIN} {ODD}"), "--distributed"]
  assert rest == [["scontrol", "requeue", "7"]] * requeued


def test_the_manifest_of_kubernetes_is_what_jax_looks_for():
  text = (LAUNCH / "jobset.yaml").read_text()
  account, role, binding, jobset = yaml.safe_load_all(text)
  job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
  assert job["completionMode"] == "Indexed"  # the process's number
  assert job["parallelism"] == job["completions"] == 2
  pod = job["template"]["spec"]
  assert pod["serviceAccountName"] == account["metadata"]["name"]
  assert role["rules"][0]["resources"] == ["pods", "services", "jobs"]
  assert binding["roleRef"]["name"] == role["metadata"]["name"]
  assert binding["subjects"][0]["name"] == account["metadata"]["name"]
  (container,) = pod["containers"]
  words = f"python {MAIN} --config.train.preempt_exit_code=85 --distributed"
  assert container["command"] == words.split()
  assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]


def test_the_node_of_skypilot(tmp_path):
  task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
  write_program(tmp_path / "run.sh", '#!/usr/bin/env bash\necho "$@"\n')
  node = {
    "COMMAND": MAIN,
    "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    "SKYPILOT_NUM_NODES": "2",
    "SKYPILOT_NODE_RANK": "1",
  }
  done = shell("bash", "-c", task["run"], cwd=tmp_path, env=os.environ | node)
  flags = "--coordinator_address=10.0.0.1:8476 --num_processes=2"
  assert done.stdout == f"{MAIN} {flags} --process_id=1\n"


ECHO = "import sys; print(*sys.argv[1:]); print('bad', file=sys.stderr)"


def test_local_processes_know_their_number():
  done = launch(["local.sh", "2", sys.executable, "-c", ECHO, "a b"])
  assert done.returncode == 0
  lines = sorted(done.stdout.splitlines())
  (port,) = set(re.findall(r"address=127.0.0.1:(\d+) ", done.stdout))
  flags = f"--coordinator_address=127.0.0.1:{port} --num_processes=2"
  assert lines == [f"[{n}] a b {flags} --process_id={n}" for n in range(2)]
  assert sorted(done.stderr.splitlines()) == ["[0] bad", "[1] bad"]


def test_the_first_failure_ends_all():
  """The others would run for ever."""
  last = "sys.exit(7) if sys.argv[-1][-1] == '1' else time.sleep(3600)"
  code = f"import sys, time; {last}"
  done = launch(["local.sh", "3", sys.executable, "-c", code])
  assert done.returncode == 7


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_go_to_every_process(name):
  code = (
    "import signal, sys, time\n"
    "def stop(*_): print('saved', flush=True); sys.exit(0)\n"
    f"signal.signal(signal.{name}, stop)\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(0.05)"
  )
  pod = subprocess.Popen(
    (LAUNCH / "local.sh", "2", sys.executable, "-c", code),
    stdout=subprocess.PIPE,
    text=True,
  )
  ready = {pod.stdout.readline() for _ in range(2)}
  assert ready == {"[0] ready\n", "[1] ready\n"}
  pod.send_signal(signal.Signals[name])
  rest, _ = pod.communicate(timeout=LIMIT)
  assert sorted(rest.splitlines()) == ["[0] saved", "[1] saved"]
  assert pod.returncode == 0


def test_devices_of_local_processes():
  code = "echo $XLA_FLAGS $JAX_PLATFORMS"
  words = ["local.sh", "1", "--devices=3", "bash", "-c", code]
  done = launch(words, env={**os.environ, "XLA_FLAGS": "--a"})
  devices = "--xla_force_host_platform_device_count=3"
  assert done.stdout == f"[0] --a {devices} cpu\n"


PAGE = (ROOT / "docs" / "pods.md").read_text("utf-8")


def test_every_command_of_the_page_is_known(clusters, monkeypatch):
  """Clusters are stand-ins; our own scripts say --help."""
  python = pathlib.Path(sys.executable).parent
  path = os.environ["PATH"].replace(":", f":{python}:", 1)
  monkeypatch.setenv("PATH", path)
  found = commands(PAGE)
  scripts = {f"launch/{script}" for script in SCRIPTS}
  assert {words[0] for words in found} == {"python", "xpk", "kubectl", *scripts}
  for words in found:
    if "launch/local.sh" in words or words[0] == "python":
      words = [*words, "--help"]
    done = shell(*words)
    assert done.returncode == 0, (words, done.stderr)
  # Through the shell on the host come the words that were meant.
  (create,) = (c for c in clusters() if c[:3] == "xpk workload create".split())
  assert shlex.split(create[-1])[:2] == ["python", "main.py"]


def test_the_page_names_what_exists():
  for name in re.findall(r"`launch/([\w.]+)`", PAGE):
    assert (LAUNCH / name).exists(), name
  options = set(re.findall(r"`--(\w+)(?:=[^`]*)?`", PAGE)) - {"share"}
  helps = run_python("main.py", "--helpfull").stdout
  helps += "".join(launch([script, "--help"]).stdout for script in SCRIPTS)
  helps += "--distributed"  # absl writes --[no]distributed
  assert {name for name in options if f"--{name}" not in helps} == set()
