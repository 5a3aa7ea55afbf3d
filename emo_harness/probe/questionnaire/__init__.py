"""System prompts characterised by a model's answers to a questionnaire."""
