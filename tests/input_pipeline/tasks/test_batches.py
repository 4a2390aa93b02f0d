"""Of every kind of data: the contract, exactness, restarts, and hosts."""

import pytest

from tests.support.batch_checks import KINDS, check_batches, check_fingerprints


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_functions_of_their_step(kind, tmp_path):
  check_batches(kind, KINDS[kind].files(tmp_path), spec=KINDS[kind].spec)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_changes_the_fingerprint(kind, tmp_path):
  check_fingerprints(kind, KINDS[kind].files(tmp_path), KINDS[kind].changes)
