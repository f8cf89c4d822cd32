"""What all widgets share: how their page is made, and the event loop of the cells."""
