"""gcmedia: capture Genesys Cloud call audio, clean, ordered and accounted for."""
