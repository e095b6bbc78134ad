"""`harness lora ...`: LoRA files looked into, converted, shrunk, merged, taken in; and who is champion."""
