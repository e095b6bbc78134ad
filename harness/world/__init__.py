"""The world: procedurally drawn people whose every attribute is known, and the small models that know them."""
