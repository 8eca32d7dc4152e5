"""PyTorch's own operator database run against cupola: what `make scoreboard` executes."""
