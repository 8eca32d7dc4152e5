"""What torch.fx.experimental has that is used outside PyTorch."""
