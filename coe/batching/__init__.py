"""Batches: checked, routed, and run expert by expert behind the interactive requests."""
