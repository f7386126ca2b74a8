"""What has nothing to do with molecules: files, documents, locks, random numbers, intervals, processor cores."""
