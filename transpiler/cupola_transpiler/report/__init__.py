"""The report of a conversion: terminal, JSON and HTML, from one set of facts."""
