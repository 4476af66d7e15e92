"""What an experiment has shown so far: from the decision log to a verdict for people."""
