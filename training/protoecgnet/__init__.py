"""ProtoECGNet: its stages, and explanations that add up."""
