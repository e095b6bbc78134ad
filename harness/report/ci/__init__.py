"""What a continuous integration sees of a run: annotations, a summary, a contact sheet, one last line of JSON."""
