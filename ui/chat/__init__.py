"""The chat page: Chainlit, kept to this package and to what KubeChat needs of it."""
