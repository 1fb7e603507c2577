"""What every other package may use: limits, the log, and text as a terminal may have it."""
