"""The recipe of alma and its data, one topic per module.

The modules import nothing heavy at the top: torch, transformers, trl and vllm are imported inside
the functions that use them, so that a dry run and the unit tests start in a moment.
"""
