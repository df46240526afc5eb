"""x, env -> x: attention, MLPs, norms, positions, blocks and stacks."""
