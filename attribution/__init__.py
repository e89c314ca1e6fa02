"""The attribution study: it asks whether the explanations of a model can be trusted."""
