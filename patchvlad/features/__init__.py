"""Photos on disk to a feature store on disk: image lists, the extraction loop, the store."""
