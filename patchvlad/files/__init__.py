"""Files: arrays and tables that others wrote, and files that appear whole or not at all."""
