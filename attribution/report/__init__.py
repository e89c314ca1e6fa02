"""Reports of the attribution study."""
