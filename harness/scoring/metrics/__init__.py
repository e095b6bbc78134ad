"""What a picture is worth: one file a metric family, one line of `table.METRICS` each."""
