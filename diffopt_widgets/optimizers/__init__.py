"""From Settings to the real optimizer: its class, its parameter groups, and what no package has."""
