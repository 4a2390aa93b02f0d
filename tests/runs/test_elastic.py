"""The same run on another number of devices."""

import json
import os
import subprocess
import sys

import numpy as np

from tests.conftest import ROOT
from tests.support.elastic_run import DEVICES, TOTAL
from tests.support.line_task import line_batch


def test_any_number_of_devices_goes_on(tmp_path):
  """8, 4, 1, 16, 8 devices; jit and pmap; replicated, zero1 and fsdp."""
  done = subprocess.run(
    (sys.executable, "-m", "tests.support.elastic_run", tmp_path),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=200,
    env={
      **os.environ,
      "XLA_FLAGS": "--xla_force_host_platform_device_count=16 "
      "--xla_backend_optimization_level=0",
    },
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert found["differences"] == [0.0] * (len(DEVICES) - 1)
  # Every example once and in order, whatever the devices.
  assert found["ids"] == [
    [step + 1, np.asarray(line_batch(step, size=16)["example_id"]).tolist()]
    for step in range(TOTAL)
  ]
