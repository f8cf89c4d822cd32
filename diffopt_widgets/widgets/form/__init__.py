"""The form: every option of an optimizer, explained."""
