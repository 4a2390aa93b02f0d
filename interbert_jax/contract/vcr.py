"""VCR's objectives: what is chosen among four texts.

Results call them as VCR's authors do.
"""

CHOICES = 4
ANSWER, RATIONALE = "answer", "rationale"
# The objective of a batch is its place here; behind it, its name in results.
METRICS = {ANSWER: "Q->A", RATIONALE: "QA->R"}
BOTH = "Q->AR"  # the answer and its rationale are right
# Rationales of the right answer, and of each of the four.
RATIONALES_OF = tuple(f"{RATIONALE}_of_{i}" for i in range(CHOICES))
OBJECTIVES = (ANSWER, RATIONALE, *RATIONALES_OF)
