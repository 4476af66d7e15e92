"""Other APIs over the chat completions that everything else works with: one package each."""
