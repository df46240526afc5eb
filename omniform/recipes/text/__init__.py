"""Recipes: text."""
