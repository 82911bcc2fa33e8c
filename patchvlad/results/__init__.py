"""Results: the folder that matching fills, predictions of any method, and files for other tools."""
