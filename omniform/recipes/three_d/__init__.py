"""Recipes: shapes in space."""
