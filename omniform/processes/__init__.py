"""Families: what is asked in training, and how a sample grows."""
