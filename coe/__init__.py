"""CoE: an OpenAI-compatible Composition-of-Experts gateway."""

__version__ = "0.1.0"
