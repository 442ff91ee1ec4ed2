"""Tasks, suites, the runner and the command line."""
