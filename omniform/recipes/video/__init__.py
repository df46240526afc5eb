"""Recipes: video."""
