"""The improve loop: a failing LoRA's feedback becomes a challenger, kept only if it is proven better."""
