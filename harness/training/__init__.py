"""Training: a LoRA from the subject's train pictures, and the loop that makes a failing one better."""
