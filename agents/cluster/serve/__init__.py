"""A snapshot as a read-only Kubernetes API, for kubectl, k9s and our own live reader.

`build_app` gives the ASGI application of a loaded snapshot, `serve_snapshot` listens with it on loopback. The clock of
the server stands still at the time of capture (its Date header says so), so ages are what they were.
"""

from agents.cluster.serve.app import build_app
from agents.cluster.serve.server import serve_snapshot, write_kubeconfig

__all__ = ["build_app", "serve_snapshot", "write_kubeconfig"]
