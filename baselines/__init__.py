"""Methods behind one adapter contract."""
