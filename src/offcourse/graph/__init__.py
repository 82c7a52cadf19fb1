"""What the workflow computes and shows: steps and products, and what each depends on."""
