"""The verbs of the program; each module is light, and imports what it needs when it runs."""
