"""The steps of the pipeline (verbs) and their vocabulary (nouns)."""
