"""`harness references ...`: a suite's references, or any folder of pictures."""
