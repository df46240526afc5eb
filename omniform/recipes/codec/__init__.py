"""Recipes: codec."""
