"""Where artifacts come from: records of provenance, lineage, the origin of a row, the check of a run."""
