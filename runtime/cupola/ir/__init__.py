"""What a program is: nodes, primitives, devices and the mode that recording obeys."""

from cupola.ir.device import device
from cupola.ir.node import Node
from cupola.ir.op import PRIMITIVES, Primitive

__all__ = ["PRIMITIVES", "Node", "Primitive", "device"]
