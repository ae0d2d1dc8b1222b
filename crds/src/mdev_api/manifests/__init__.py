"""CustomResourceDefinitions generated from the pydantic kinds.

The kinds are the only definition of the API. ``structural`` turns pydantic's JSON schema into the structural OpenAPI v3
schema that the API server asks for, ``definitions`` adds what a kind is called and which columns it prints, ``cli``
writes the files or compares them (``mdev-api-manifests [--check] [DIR]``).
"""
