"""The same run on another number of devices."""

import json

import numpy as np

from tests.support.elastic_run import DEVICES, TOTAL
from tests.support.line_task import line_batch
from tests.support.scripts import run_python


def test_any_number_of_devices_goes_on(tmp_path):
  """8, 4, 1, 16, 8 devices; jit and pmap; replicated, zero1 and fsdp."""
  flags = "--xla_force_host_platform_device_count=16"
  done = run_python(
    *("-m", "tests.support.elastic_run", tmp_path),
    env={"XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0"},
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert found["differences"] == [0.0] * (len(DEVICES) - 1)
  # Every example once and in order, whatever the devices.
  assert found["ids"] == [
    [step + 1, np.asarray(line_batch(step, size=16)["example_id"]).tolist()]
    for step in range(TOTAL)
  ]
