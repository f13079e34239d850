"""Training: features once, losses, optimisers, one loop, checkpoints."""
