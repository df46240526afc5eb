"""Hidden states to distributions."""
