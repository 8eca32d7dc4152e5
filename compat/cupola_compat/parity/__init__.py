"""Shows that a converted module computes what its torch original computes.

The only room outside the tests that imports torch; everything here needs it installed
(`pip install 'cupola[parity]'`).
"""

from cupola_compat.parity.compare import compare
from cupola_compat.parity.report import Report, Row

__all__ = ["Report", "Row", "compare"]
