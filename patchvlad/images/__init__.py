"""Images: which there are, how others name them, and their pixels."""
