"""The main job on one line: shipped systems, one of each family trained from scratch, and the page that compares them."""
