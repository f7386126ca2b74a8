"""How much a file from outside may ask for; beyond it, reading ends with one sentence instead of filling the memory.

Files that are read as streams may have any size. What is bounded is how far packed data may grow, and what a single
line, molecule, name or document may need; real files stay far below. A broken or malicious file of up to 8 MiB takes
less than 2 GiB of memory before it is refused; whatever is larger takes memory in proportion to its size at most.
"""

MiB = 2**20

GROWTH = 50  # times its packed size: coordinates hardly shrink, so that real molecules stay below 20
ALWAYS = 8 * MiB  # bytes that may be unpacked whatever the growth, since small files can be very uniform

LINE = MiB  # characters of a line of text
TEXTS = 1024 * MiB  # bytes of the texts of a table, in which every cell has the room of its column's longest
RECORD = 16 * MiB  # characters of a molecule with its data fields
NAME = 255  # characters of the name of a property, or of a file in an archive
HEADER = MiB  # bytes of what an archive says of a member, such as a long name

DOCUMENT = 64 * MiB  # bytes of a JSON document, a list or a table of targets
ITEMS = 10_000_000  # values of JSON
RECIPE = MiB  # bytes of YAML, which is slow to read
RECIPE_ITEMS = 100_000  # values of YAML once its references are written out
DEPTH = 100  # lists and mappings of JSON within each other
