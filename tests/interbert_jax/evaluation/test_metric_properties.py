"""What holds of metrics for any scores, ties, order and batches."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from input_pipeline.annotations import vqa_answers
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.contract.vcr import BOTH, METRICS
from interbert_jax.evaluation import vcr
from interbert_jax.ranking.retrieval_metrics import RECALLS, retrieval_metrics
from interbert_jax.tasks import losses
from tests.interbert_jax.ranking.test_retrieval_metrics import naive_metrics
from tests.support.properties import bounded

SIDES = ("image_retrieval", "text_retrieval")


@st.composite
def score_matrices(draw):
  """Scores of few values, so that most queries tie, and each text's image."""
  images = draw(st.integers(1, 7))
  extra = draw(st.lists(st.integers(0, images - 1), max_size=8))
  owners = draw(st.permutations([*range(images), *extra]))
  levels = draw(st.integers(1, 12))
  scores = draw(
    arrays.arrays(
      np.float32, (len(owners), images), elements=st.integers(0, levels)
    )
  )
  return scores, np.array(owners)


@bounded(60)
@given(score_matrices(), st.randoms(use_true_random=False))
def test_retrieval(matrix, random):
  scores, owners = matrix
  found = retrieval_metrics(scores, owners)
  wanted = naive_metrics(scores, owners)  # one query at a time
  assert found == {k: pytest.approx(v) for k, v in wanted.items()}
  for side in SIDES:
    recalls = [found[f"{side}_recall@{k}"] for k in RECALLS]
    assert recalls == sorted(recalls)
    for k in RECALLS:
      low, middle, high = (
        found[f"{side}_recall@{k}{name}"]
        for name in ("_pessimistic", "", "_optimistic")
      )
      assert low <= middle + 1e-12 and middle <= high + 1e-12
  # Neither the order of texts and images nor the scale of scores matters.
  texts = np.array(random.sample(range(len(owners)), len(owners)))
  images = np.array(random.sample(range(scores.shape[1]), scores.shape[1]))
  moved = retrieval_metrics(
    np.exp(scores[np.ix_(texts, images)].astype(float)),
    np.argsort(images)[owners[texts]],
  )
  assert moved == {k: pytest.approx(v) for k, v in found.items()}


@bounded(30)
@given(score_matrices(), st.data())
def test_a_missing_pair_is_an_error(matrix, data):
  scores, owners = matrix
  text = data.draw(st.integers(0, scores.shape[0] - 1))
  image = data.draw(st.integers(0, scores.shape[1] - 1))
  scores[text, image] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
  words = f"1 of {scores.size} .* query {text} with candidate {image};"
  with pytest.raises(CheckpointError, match=words):
    retrieval_metrics(scores, owners)


@bounded(60)
@given(st.data())
def test_sums_and_weights_do_not_depend_on_batches(data):
  count = data.draw(st.integers(1, 30))
  values = np.array(
    data.draw(st.lists(st.integers(-9, 9), min_size=count, max_size=count))
  )
  weights = np.array(
    data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
  )
  cuts = sorted(data.draw(st.sets(st.integers(1, 29))))
  parts = np.split(np.arange(count), [c for c in cuts if c < count])
  order = data.draw(st.permutations(parts))
  pairs = [
    {"x": (float(values[p] @ weights[p]), float(weights[p].sum()))}
    for p in order
  ]
  found = losses.mean_over(pairs)
  if not weights.any():
    assert found == {}  # never 0 / 0
  else:
    assert found["x"] == pytest.approx(np.average(values, weights=weights))


@bounded(60)
@given(st.data())
def test_vcr(data):
  """Hits are the share of orders of tied choices that put the right first."""
  count = data.draw(st.integers(1, 6))
  scores, labels = {}, {}
  for name in METRICS:
    scores[name] = data.draw(
      arrays.arrays(np.float32, (count, 4), elements=st.integers(0, 2))
    )
    labels[name] = data.draw(
      arrays.arrays(np.int64, count, elements=st.integers(0, 3))
    )
  found = vcr.vcr_metrics(scores, labels)

  def naive(name, row):
    firsts = [
      max(order, key=lambda c: scores[name][row, c])  # the first of the best
      for order in itertools.permutations(range(4))
    ]
    return np.mean([first == labels[name][row] for first in firsts])

  hits = {name: [naive(name, row) for row in range(count)] for name in METRICS}
  for name, published in METRICS.items():
    assert found[published] == pytest.approx(np.mean(hits[name]))
  both = np.multiply(*hits.values())
  assert found[BOTH] == pytest.approx(both.mean())
  turned = {name: of[:, ::-1] for name, of in scores.items()}
  again = vcr.vcr_metrics(turned, {n: 3 - of for n, of in labels.items()})
  assert again == {k: pytest.approx(v) for k, v in found.items()}


@bounded(60)
@given(
  st.lists(st.sampled_from(["yes", "no", "red", "two"]), min_size=1).filter(
    lambda said: len(said) <= 12
  )
)
def test_vqa(said):
  """The official accuracy, with each person left out in turn."""
  votes = vqa_answers.votes_of(said)
  assert sum(votes.values()) == len(said)
  assert list(votes.values()) == sorted(votes.values(), reverse=True)
  normal = [vqa_answers.normal_answer(answer) for answer in said]
  for answer, count in votes.items():
    wanted = [
      min((normal[:i] + normal[i + 1 :]).count(answer) / 3, 1)
      for i in range(len(said))
    ]
    found = vqa_answers.accuracy(count, len(said))
    assert found == pytest.approx(np.mean(wanted))
    assert 0 <= found <= vqa_answers.soft_score(count) <= 1
