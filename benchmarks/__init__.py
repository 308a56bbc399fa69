"""fusednet beside its peers: ``python -m benchmarks.run``, from the folder above this one."""
