"""What can be chosen of features. Nothing is imported for it."""

STORE_DTYPES = ("float32", "float16", "int8")  # of patch descriptors on disk
