"""Several gateways that serve as one: who they are, what they share, who owns which memory."""
