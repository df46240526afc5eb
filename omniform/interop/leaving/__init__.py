"""Systems in other people's formats: which of their networks ours is, its files, and how they are opened there."""
