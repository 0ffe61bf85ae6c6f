"""What a dataset can do, family by family; `Dataset` has them all."""
