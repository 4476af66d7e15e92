"""Scores of experts: prompts with a check each, asked, checked and kept as outcomes."""
