"""What the program is called."""

NAME = "x2v-quant"
