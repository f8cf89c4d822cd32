"""What options really do, found by trying them; and which optimizers can run here."""
