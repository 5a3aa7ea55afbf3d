"""The strict protocol: words and templates held out together, with controls beside every number."""
