"""Optimizers of the catalogue, one file per family.

To add an optimizer, write a file here whose `ENTRIES` hold its spec, and add its name to `FAMILIES` in
`catalogue/__init__.py`; `diffopt probe --write KEY` adds its evidence. An option that no other optimizer has belongs in its
file. If no reader in `rates/` can read its rate, add a class there and name it in the spec.
"""
