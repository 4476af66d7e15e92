"""What people read; `python -m docs.generate` writes the parts that come from the code."""
