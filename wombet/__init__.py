"""World-model-based experience transfer: the algorithm and its parts."""
