"""The command lines: the only room that knows argparse, prints, and sets up the process."""
