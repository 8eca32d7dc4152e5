"""Passes over graphs (torch.fx.passes)."""
