"""All limits on input from outside: sizes, counts, depths and seconds, each with the reason for its value."""

# files that are read
HEADER_BYTES = 100_000_000  # of a safetensors header: the format's own upper bound
TENSORS = 200_000  # of a model: twice the largest's; names are looked at one by one, a second for 50,000
DIMENSIONS = 64  # of a tensor: torch's own limit
KEY_CHARS = 1024  # of a tensor's name: the longest published has some 150, of a LoRA with all of its prefixes
MARKER_BYTES = 4096  # of a layer's marker, which is a few dozen bytes of JSON
SMALL_TENSOR_BYTES = 1 << 20  # of an unquantized tensor that inspect looks into (loading: all): norms have less
RECORD_CHARS = 65536  # of what the pack wrote of a file's making into its metadata: some thousand characters of JSON
RECORD_ENTRIES = 16  # of each list and table in there: one for each way of rounding, of which there are five
RECORD_LAYERS = 512  # of the names of layers in there, of which those of all blocks are one: a block has ten to forty
RECORD_NAME_CHARS = 64  # of a name in there: a version, or a way of rounding
MODEL_SIZE = 1 << 20  # of a width in the metadata's configuration: 30 times the widest model's
MODEL_LAYERS = 1000  # of a count of layers there: ten times the deepest model's
INDEX_BYTES = 32_000_000  # of the index of a model in shards: 100 bytes a tensor, and the largest have 100,000
CONFIG_BYTES = 4_000_000  # of a model's config.json, which is looked into: such a file is a few thousand bytes
PICKLE_BYTES = 16_000_000  # of a PyTorch file's names and shapes: 150 bytes a tensor, a second for each MB
INDEXES_KEPT = 256  # indexes whose names stay in memory: as many models in shards have few
LORA_GROWTH = 16  # times that a LoRA may enlarge a weight: those for control inputs make it two to six times as large

# what users write
LAYER_RULES = 2000  # lines: more than a model has linear layers
LAYER_RULES_CHARS = 1_000_000  # all of these lines, with comments
PATH_PARTS = 64  # of a path in a LightX2V configuration: each is looked for by itself; nobody nests as deep

# files that are written
NAME_BYTES = 255  # of a file's name: what ext4, NTFS, APFS and exFAT take

# a ComfyUI server, ours or one that somebody named
CONNECT_SECONDS = 10  # to be connected: another continent takes one
ANSWER_SECONDS = 120  # silence before or within an answer: the first /object_info imports a lot, a busy GIL delays more
SLOW_SECONDS = 5  # without an answer until a person is told that we wait
ANSWER_BYTES = 200_000_000  # of an answer in JSON: /object_info of a thousand nodes that list their files is ten
FILE_BYTES = 100_000_000_000  # of a saved file, which may be a long video: stops a server that never ends
TRANSFER_SECONDS = 24 * 3600  # for one file: such a one over a home's connection
FILES = 10_000  # that one prompt saved: frames of a video of minutes
MESSAGE_BYTES = 64_000_000  # of a message over the websocket: nodes send whole pictures
EVENT_CHARACTERS = 4_000_000  # of one that says how far a prompt is: what is longer is in the history as well
EVENTS = 64  # that wait to be shown: what comes when all are taken is left out, as the history has the end
HEARTBEAT_SECONDS = 30  # between two signs of life over a websocket: a proxy cuts what is silent for a minute
RECONNECT_SECONDS = 1  # before a websocket that was cut is opened again
POLL_SECONDS = 5  # without news of a prompt until the history is asked
POLL_ANSWER_SECONDS = 30  # for an answer to that: a busy server takes some
LOST_SECONDS = 600  # without any answer while a prompt runs: loading from a slow disk can hold a server up for minutes
CANCEL_SECONDS = 3  # to take a prompt back after Ctrl-C: somebody waits for the end
START_SECONDS = 300  # until a server of ours answers: 15 on two cores, minutes with a cold disk and many custom nodes
STOP_SECONDS = 10  # until a server of ours that was asked to end is killed: it has nothing to save

# a command
END_SECONDS = 20  # from Ctrl-C to the end, whatever hangs: a server is asked to stop for ten, then killed

# workflows
JSON_BYTES = 100_000_000  # of a file: graphs that carry pictures in base64 have tens of MB
INFLATION = 100  # times its size that a compressed text may have: JSON has twenty, what is all alike a thousand
JSON_DEPTH = 200  # of lists and objects in each other: a saved graph has about ten
GRAPH_NODES = 20_000  # of a workflow with its subgraphs expanded: the largest public ones have about a thousand
GRAPH_DEPTH = 50  # of subgraphs in each other: nobody has opened five
