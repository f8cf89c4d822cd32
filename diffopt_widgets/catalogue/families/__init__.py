"""The optimizers of the catalogue, one file for each family.

A new optimizer is a file here whose `ENTRIES` hold its spec, and a line in `FAMILIES` of `catalogue/__init__.py`;
`diffopt probe --write KEY` adds its evidence. An option that no other optimizer has stands in its file, and a rate that
none of the readers in `rates/` can tell is a class there, which the spec names.
"""
