"""How attribution methods see a trained model."""
