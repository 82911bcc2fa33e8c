"""Making models: centroids and whitening fitted to photos."""
