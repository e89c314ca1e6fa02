"""The attribution study: can the explanations of a model be trusted?"""
