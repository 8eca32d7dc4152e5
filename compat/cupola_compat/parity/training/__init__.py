"""Training compared step by step: two processes, one that observes each, one that compares."""
