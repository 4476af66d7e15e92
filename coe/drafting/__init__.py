"""Panels at work: several experts are asked, and one answer is made of what they say."""
