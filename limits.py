"""Every limit on what comes from outside: sizes, counts, depths and seconds, each with the reason for its number."""

# a ComfyUI server, ours or one that somebody named
CONNECT_SECONDS = 10  # to be connected: another continent takes one
ANSWER_SECONDS = 120  # silence before or within an answer: the first /object_info imports a lot, a busy GIL delays more
