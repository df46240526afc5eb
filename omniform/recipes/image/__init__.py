"""Recipes: image."""
