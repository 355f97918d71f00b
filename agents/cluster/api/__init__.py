"""The transport to a Kubernetes API server, and the only importer of the Kubernetes client.

`load_access` finds the cluster by kubectl's rules, `KubeApi` asks it. Importing this package imports neither the client
nor aiohttp; that happens on the first request.
"""

from agents.cluster.api.client import ApiReply, KubeApi, RequestTimedOut
from agents.cluster.api.kubeconfig import ClusterAccess, load_access

__all__ = ["ApiReply", "ClusterAccess", "KubeApi", "RequestTimedOut", "load_access"]
