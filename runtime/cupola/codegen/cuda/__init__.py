"""The CUDA C dialect: a kernel of the loop form as source text, and the launches that run it.

``plan`` chooses, from the sizes alone, the variants and launch shapes; ``source`` writes the text
of a variant. Neither needs a GPU.
"""

from cupola.codegen.cuda.many import Many, many
from cupola.codegen.cuda.plan import Choice, Plan, Step, plan
from cupola.codegen.cuda.text import entry, source
from cupola.codegen.cuda.variant import Variant, head, words

__all__ = [
    "Choice", "Many", "Plan", "Step", "Variant", "entry", "head", "many", "plan", "source", "words",
]  # fmt: skip
