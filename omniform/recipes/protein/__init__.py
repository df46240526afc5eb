"""Recipes of proteins."""
