"""What to take for a machine: formats ranked by what fits, what they lose and what they should gain, as estimates."""
