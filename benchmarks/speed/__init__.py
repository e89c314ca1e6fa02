"""Speed and memory, measured side by side with the plain way. Nothing here is a test."""
