"""The HTTP service on Ray Serve: `serve run serve.app:build`."""
