"""`dw.watch`: the live plot and the record of anyone's own training loop."""
