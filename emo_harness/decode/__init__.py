"""EmotionDecode: stimuli to mean representations per layer, and those to meta prompts."""
