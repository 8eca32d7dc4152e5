"""From a program to a plan: simplify, decide what is stored, order the steps."""

from cupola.schedule.formulas import expand
from cupola.schedule.partition import Lowering, plan
from cupola.schedule.prologue import Prologue, split
from cupola.schedule.simplify import simplify

__all__ = ["Lowering", "Prologue", "expand", "plan", "simplify", "split"]
