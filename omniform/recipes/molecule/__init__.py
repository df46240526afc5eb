"""Recipes of molecules."""
