"""Where records are kept unless somebody says otherwise."""

STORE_VARIABLE = "PARITYGATE_STORE"  # of the environment: a SQLite file or the URL of a database
STORE_FILE = "store.sqlite"  # in the folder that ``bench.paths`` finds
