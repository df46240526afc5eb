"""Codecs: what tokens are made of. Data to tokens and back."""
