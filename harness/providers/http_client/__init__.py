"""The one way out to the network: sessions that retry honestly, limits, safe downloads, and keys that do not leak."""
