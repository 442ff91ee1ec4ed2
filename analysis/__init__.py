"""Statistics, tables, figures and reports, computed from the store alone."""
