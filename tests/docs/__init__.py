"""What the documentation shows is run, and what it lists is compared with the code."""
