"""What is remembered of each decision: taken down on the way, written behind it."""
