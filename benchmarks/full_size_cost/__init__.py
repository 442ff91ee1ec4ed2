"""What suites cost on a cluster, from rates that are measured at each method's own settings."""
