"""Keys: what one is for, who holds which, and which endpoints each may reach."""
