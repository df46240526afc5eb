"""Recipes of motion."""
