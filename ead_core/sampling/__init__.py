"""From a request to molecules: conditions, states, micro-batches, the engine."""
