"""The engine `ray`: the same program on a Ray cluster, started by it or reached at an address."""
