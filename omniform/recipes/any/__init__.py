"""Recipes: several modalities in one sequence."""
