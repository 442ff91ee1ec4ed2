"""The verbs of the analysis. Nothing heavy is imported until one runs."""
