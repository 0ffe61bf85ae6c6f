"""The part that drivers and workers share: owning objects, submitting work, waiting."""
