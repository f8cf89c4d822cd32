"""`dw.watch`: a live plot and a record for your own training loop."""
