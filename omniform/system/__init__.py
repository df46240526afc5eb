"""Network, System and Recipe: the parts put together, built, saved and loaded."""
