"""Probes: are valence and arousal readable from activations, and by more than controls read?"""
