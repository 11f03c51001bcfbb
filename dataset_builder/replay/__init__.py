"""Recaptures: clips that were played one after another on a screen and filmed in one very long recording."""
