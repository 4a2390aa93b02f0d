"""What is read out of a compiled program's text."""

from interbert_jax.app import hlo

TEXT = """\
HloModule jit_step

%fused (p: f32[8]) -> f32[8] {
  ROOT %x = f32[8] add(%p, %p), backend_config={"estimated_cycles":"999"}
}

ENTRY %main (a: f32[4,2]) -> f32[] {
  %a = f32[4,2]{1,0} parameter(0)
  %f = f32[8] fusion(%a), metadata={op_name="jit(step)/jvp(InterBert)/\
encoder/text_encoder/layer_0/add"}, backend_config={"estimated_cycles":"70"}
  %g = f32[8] fusion(%f), metadata={op_name="jit(step)/adam"}, \
backend_config={"estimated_cycles":30}
  %all-reduce.1 = (f32[4,2]{1,0}, bf16[10]{0}) all-reduce(%f, %g), to_apply=%s
  %s = ((f32[6]), f32[6]) all-reduce-start(%g), to_apply=%sum
  %d = f32[6] all-reduce-done(%s)
  ROOT %all-gather.2 = f32[] all-gather(%d), dimensions={0}
}

%after (p: f32[8]) -> f32[8] {
  ROOT %y = f32[8] add(%p, %p), backend_config={"estimated_cycles":"5"}
}
"""


def test_cycles_are_those_of_what_runs_by_the_part_of_the_model():
  assert hlo.cycles_by_part(TEXT) == {
    "text stream": 70,
    "outside the model": 30,
  }


def test_collectives_are_counted_once_with_their_results():
  assert hlo.collectives(TEXT) == {
    "all-reduce": {"count": 2, "arrays": 3, "MB": (32 + 20 + 24) / 1e6},
    "all-gather": {"count": 1, "arrays": 1, "MB": 4 / 1e6},
  }
