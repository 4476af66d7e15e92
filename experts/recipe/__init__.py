"""The recipe that makes the shipped experts: text, tokenizer, base model, adapters, matrix."""
