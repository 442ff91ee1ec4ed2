"""What all tests need before any of them runs."""

# Its import configures logging anew, and with it closes the stream that absl (which rliable brings) found when it was
# imported: the one into which pytest captures, if that happens while tests run. First, it finds nothing to close.
import submitit  # noqa: F401
