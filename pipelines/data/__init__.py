"""Examples on their way to fine-tuning: found, read, converted to messages, checked, cleaned, counted, kept."""
