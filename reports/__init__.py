"""Reports on files, on the machine and on schemes, as data and as text."""
